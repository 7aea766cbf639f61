/** What the kernel keeps of what it was answered: cache.ts says what each means. */
export const cachePolicies = ["none", "open"] as const;
export type CachePolicy = (typeof cachePolicies)[number];
