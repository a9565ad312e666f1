// A page that does not come back for 300 s: WebDriver's script timeout does not interrupt it, DELETE waits for it.
export async function open(host) {
  host.phase('load the model');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const until = performance.now() + 300000;
  while (performance.now() < until);
  throw new Error('the loop ran to its end');
}
