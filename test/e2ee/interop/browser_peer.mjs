// The core inside headless Chromium behind the peer protocol: a static server
// on the loopback interface sends the production content security policy with
// every file, and the driver's requests go to a worker of the page.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { Refused } from './lines.mjs';

export const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'";

const root = fileURLToPath(new URL('../../../', import.meta.url));
const FILES = {
  '/': ['test/e2ee/interop/browser/index.html', 'text/html; charset=utf-8'],
  '/browser/page.js': ['test/e2ee/interop/browser/page.js', 'text/javascript'],
  '/browser/worker.js': ['test/e2ee/interop/browser/worker.js', 'text/javascript'],
  '/test/e2ee/interop/wasm_peer.mjs': ['test/e2ee/interop/wasm_peer.mjs', 'text/javascript'],
  '/web/e2ee/device.js': ['web/e2ee/device.js', 'text/javascript'],
  '/web/e2ee/loader.js': ['web/e2ee/loader.js', 'text/javascript'],
  '/web/e2ee/store.js': ['web/e2ee/store.js', 'text/javascript'],
};
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

function startServer(modulePath, policy) {
  const server = createServer((request, response) => {
    const [path, type] = request.url === '/sotto-e2ee.wasm'
      ? [modulePath, 'application/wasm'] : FILES[request.url] ?? [];
    if (path === undefined) {
      response.writeHead(404).end();
      return;
    }
    const body = readFileSync(path === modulePath ? path : join(root, path));
    response.writeHead(200, { 'content-type': type, 'content-security-policy': policy }).end(body);
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

export class BrowserPeer {
  static async create(modulePath, policy = POLICY) {
    const peer = new BrowserPeer();
    peer.name = 'browser';
    peer.server = await startServer(modulePath, policy);
    peer.profile = mkdtempSync(join(tmpdir(), 'sotto-chromium-'));
    peer.context = await chromium.launchPersistentContext(peer.profile, {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS, chromiumSandbox: false, timeout: 120_000,
    });
    peer.page = await peer.context.newPage();
    const errors = (peer.errors = []);
    peer.page.on('pageerror', (error) => errors.push(String(error)));
    await peer.page.goto(`http://127.0.0.1:${peer.server.address().port}/`);
    return peer;
  }

  async call(request) {
    const answer = await this.page.evaluate((r) => window.call(r), request);
    if (answer.broken) throw new Error(answer.broken);
    if (answer.error !== undefined) throw new Refused(answer, request);
    return answer;
  }

  async end() {
    await this.context.close();
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.profile, { recursive: true, force: true });
  }

  /* Nothing was stopped while the core ran; then that the policy is in force. */
  async close() {
    assert.deepEqual(await this.page.evaluate(() => window.violations), []);
    assert.deepEqual(this.errors, []);
    assert.deepEqual(await this.page.evaluate(() => window.forbidden()),
      { eval: true, inline: true, elsewhere: true, blobWorker: true });
    await this.end();
  }
}

/* The one loosening is needed: without it the module does not compile. */
export async function refusedWithoutWasm(modulePath) {
  const peer = await BrowserPeer.create(modulePath, POLICY.replace(" 'wasm-unsafe-eval'", ''));
  try {
    await assert.rejects(peer.call({ op: 'new', uuid: '00000000-0000-4000-8000-000000000000', device: 1 }),
      /WebAssembly|wasm/i);
  } finally {
    await peer.end();
  }
}
