// early.js - the first script of every page that the browser driver opens: from here on nothing that goes wrong stays
// inside the page. Console lines, uncaught errors and unhandled rejections are posted to the page server as they happen (a
// tab that dies later takes them along otherwise), and the status of every download is remembered, because runtimes report
// a missing file as anything but a missing file. A classic script: it runs before any runtime can keep the old functions.
(() => {
  'use strict';
  const base = new URL('../', document.currentScript.src);
  const realFetch = window.fetch.bind(window);
  const pending = new Set();
  let serial = 0;
  const MAX_TEXT = 8000;

  const cut = (s) => (s.length > MAX_TEXT ? `${s.slice(0, MAX_TEXT)}… (${s.length - MAX_TEXT} characters more)` : s);
  const show = (v) => {
    if (typeof v === 'string') return v;
    if (v instanceof Error) return v.stack && v.stack.includes(v.message) ? v.stack : `${v.name}: ${v.message}\n${v.stack || ''}`;
    try {
      return typeof v === 'object' && v !== null ? JSON.stringify(v) : String(v);
    } catch {
      return Object.prototype.toString.call(v);
    }
  };
  // console.log('%c%s', …): runtimes use it for colours only.
  const join = (args) => {
    let rest = args;
    if (typeof args[0] === 'string' && /%[csdifoO]/.test(args[0])) {
      rest = args.slice(1);
      const head = args[0].replace(/%([csdifoO%])/g, (all, c) => (c === '%' ? '%' : c === 'c' ? (rest.shift(), '') : show(rest.shift())));
      rest = [head, ...rest];
    }
    return cut(rest.map(show).join(' '));
  };
  const caller = () => {
    const lines = (new Error().stack || '').split('\n').slice(3);
    const line = lines.find((l) => !l.includes('/portolan/')) || '';
    return line.trim().replace(/^at /, '').replaceAll(base.href, '');
  };

  function post(event, fallback) {
    const body = JSON.stringify({n: ++serial, at_ms: Math.round(performance.now()), ...event});
    const sent = realFetch(new URL('event', base), {method: 'POST', body})
      .then((r) => { if (!r.ok && fallback) fallback(); }, () => { if (fallback) fallback(); })
      .finally(() => pending.delete(sent));
    pending.add(sent);
  }

  for (const level of ['debug', 'log', 'info', 'warn', 'error', 'trace']) {
    const old = console[level].bind(console);
    console[level] = (...args) => post({kind: 'console', level, text: join(args), source: caller()}, () => old(...args));
  }
  const oldAssert = console.assert.bind(console);
  console.assert = (ok, ...args) => { if (!ok) post({kind: 'console', level: 'error', text: `Assertion failed: ${join(args)}`, source: caller()}, () => oldAssert(ok, ...args)); };

  window.addEventListener('error', (e) => {
    if (e instanceof ErrorEvent) {
      post({kind: 'error', level: 'error', text: e.error ? show(e.error) : e.message, source: `${e.filename}:${e.lineno}:${e.colno}`.replace(base.href, '')});
      e.preventDefault(); // told; the browser's own line would be the same thing twice
    } else if (e.target && (e.target.src || e.target.href)) {
      post({kind: 'error', level: 'error', text: `could not load ${(e.target.src || e.target.href).replace(base.href, '')}`, source: 'page'});
    }
  }, true);
  window.addEventListener('unhandledrejection', (e) => {
    post({kind: 'rejection', level: 'error', text: show(e.reason), source: 'promise'});
    e.preventDefault();
  });

  const downloads = [];
  window.fetch = async (input, init) => {
    const url = String(input instanceof Request ? input.url : input);
    const d = {url: new URL(url, document.baseURI).href.replace(base.href, ''), status: 0, bytes: 0, error: ''};
    if (downloads.length < 4096) downloads.push(d);
    try {
      const response = await realFetch(input, init);
      d.status = response.status;
      d.bytes = Number(response.headers.get('content-length') || 0);
      return response;
    } catch (e) {
      d.error = String(e);
      throw e;
    }
  };

  window.portolan = {
    base: base.href,
    fetch: realFetch,
    downloads,
    post,
    // Waits until what was posted has arrived.
    settled: async () => { while (pending.size) await Promise.allSettled([...pending]); },
    show,
  };
})();
