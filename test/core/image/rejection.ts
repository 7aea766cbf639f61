/** What a promise rejects with; fails when it does not. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  const { value } = await promise.then(
    (value) => {
      throw new Error(`should have been rejected, gave ${Bun.inspect(value).slice(0, 200)}`);
    },
    (value: unknown) => ({ value }),
  );
  return value;
}
