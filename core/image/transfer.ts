/** Images on the wire, assembled: pushing, pulling, and what the coordinator answers to both. */
export { handleFetch, handleMissing, handleUpload, manifestOf, verifyImage } from "./handlers.ts";
export { pullImage, repairBlob } from "./pull.ts";
export { pushImage } from "./push.ts";
export type { Remote as ImageRemote } from "./remote.ts";
