/**
 * Versions of the protocol between kernels. A change that an older kernel would not understand raises the first; the
 * second follows one release later, so that containers of two releases can be in one instance while it is upgraded.
 */
export const protocolVersion = 1;
export const protocolVersionMin = 1;
