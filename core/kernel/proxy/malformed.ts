/**
 * What a peer has sent is no frame or message of this protocol. Its connection is closed; a kernel that speaks the
 * protocol never causes it, so it is told to people as a defect.
 */
export class Malformed extends Error {
  constructor(message: string) {
    super(message);
    this.name = "Malformed";
  }
}
