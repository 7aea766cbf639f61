/**
 * The X.509 library, loaded when a certificate is first made: it costs 30 ms of start time, and only coordinators need
 * it. Making a request and reading a peer's certificate do not.
 */
export async function loadX509(): Promise<typeof import("@peculiar/x509")> {
  // The library's dependency injection needs the Reflect metadata API to exist before it is evaluated.
  await import("reflect-metadata");
  return import("@peculiar/x509");
}

/** The one kind of key that dvs makes and accepts. */
export const keyAlgorithm = { name: "ECDSA", namedCurve: "P-256" } as const;
export const signingAlgorithm = { name: "ECDSA", hash: "SHA-256" } as const;

export async function privateKeyPem(key: CryptoKey): Promise<string> {
  const { PemConverter } = await loadX509();
  return `${PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

export async function importPrivateKey(pem: string): Promise<CryptoKey> {
  const { PemConverter } = await loadX509();
  return crypto.subtle.importKey("pkcs8", PemConverter.decodeFirst(pem), keyAlgorithm, false, ["sign"]);
}
