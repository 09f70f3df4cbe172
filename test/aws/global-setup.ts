/** The API server of a run: the one that AWS_ENDPOINT_URL names. */
export function setup(): void {
  if (process.env.AWS_ENDPOINT_URL === undefined) {
    throw new Error("AWS_ENDPOINT_URL is not set, expected the endpoint of an AWS API server");
  }
}
