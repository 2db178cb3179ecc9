// Hands requests of the driver to the worker, one at a time, and counts what
// the content security policy had to stop.
const worker = new Worker('/browser/worker.js', { type: 'module' });
const waiting = [];
worker.onmessage = ({ data }) => waiting.shift()(data);
worker.onerror = (event) => waiting.splice(0).forEach((done) => done({ broken: event.message }));
window.call = (request) => new Promise((done) => {
  waiting.push(done);
  worker.postMessage(request);
});

window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});

/* What the policy must forbid. Each gives true if it was stopped. */
window.forbidden = async () => {
  await new Promise((done) => setTimeout(done)); // the driver's own call may evaluate
  const stopped = {};
  try {
    (0, eval)('1');
    stopped.eval = false;
  } catch {
    stopped.eval = true;
  }
  const inline = document.createElement('script');
  inline.textContent = 'window.inlineRan = true';
  document.head.append(inline);
  stopped.inline = window.inlineRan !== true;
  stopped.elsewhere = await fetch('https://elsewhere.invalid/').then(() => false, () => true);
  stopped.blobWorker = await new Promise((done) => {
    try {
      const blob = new Worker(URL.createObjectURL(new Blob(['postMessage(1)'])));
      blob.onmessage = () => done(false);
      blob.onerror = () => done(true);
    } catch {
      done(true);
    }
  });
  return stopped;
};
