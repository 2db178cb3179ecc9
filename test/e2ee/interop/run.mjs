// Runs scenarios of a peer of ours against the official implementation.
//
//   node run.mjs SUBJECT SCENARIO... [--seeds N] [--messages N] [--first-seed N]
//
//   SUBJECT   native:PATH of e2ee_peer; wasm:PATH of the module, in this process;
//             browser:PATH of the module, in headless Chromium
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chat } from './chat.mjs';
import { devices } from './devices.mjs';
import { extras } from './extras.mjs';
import { fingerprints } from './fingerprints.mjs';
import { groups } from './groups.mjs';
import { kem } from './kem.mjs';
import { limits } from './limits.mjs';
import { ProcessPeer } from './lines.mjs';
import { negatives } from './negatives.mjs';
import { WasmPeer } from './wasm_peer.mjs';

const scenarios = { chat, devices, extras, fingerprints, groups, kem, limits, negatives };

async function openSubject(text) {
  const [kind, path] = [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)];
  if (kind === 'native') return new ProcessPeer(path, [], 'native');
  if (kind === 'wasm') return WasmPeer.create(new WebAssembly.Module(readFileSync(path)));
  if (kind === 'browser') {
    const { BrowserPeer, refusedWithoutWasm } = await import('./browser_peer.mjs');
    await refusedWithoutWasm(path);
    return BrowserPeer.create(path);
  }
  throw new Error(`no such subject: ${text}`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '10' },
    messages: { type: 'string', default: '3000' },
    'first-seed': { type: 'string', default: '1' },
  },
});
const [subjectText, ...names] = positionals;
const judge = new ProcessPeer(process.execPath, [fileURLToPath(new URL('judge.mjs', import.meta.url))], 'judge');
const subject = await openSubject(subjectText);
const began = Date.now();
let name;
const log = (line) => console.log(`${name}: ${line} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
try {
  for (name of names) {
    await scenarios[name]({
      subject, judge, log,
      seeds: Number(values.seeds), messages: Number(values.messages), firstSeed: Number(values['first-seed']),
    });
    log('passed');
  }
  await subject.close();
  await judge.close();
} catch (error) {
  console.error(`${name}: FAILED:`, error);
  process.exit(1);
}
