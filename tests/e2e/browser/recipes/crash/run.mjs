// The tab goes away under the run.
export async function open(host) {
  host.phase('load the model');
  console.error('the last words of the tab');
  await window.portolan.settled();
  location.href = 'chrome://crash';
  await new Promise(() => {});
}
