// The tab goes away under the run: the test kills its process as soon as it has spoken.
export async function open(host) {
  host.phase('load the model');
  console.error('the last words of the tab');
  await window.portolan.settled();
  await new Promise(() => {});
}
