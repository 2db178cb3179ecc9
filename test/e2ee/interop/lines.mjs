// JSON lines between a driver and a peer: one request a line in, one answer a
// line out, in order. Both sides of it.
import { spawn } from 'node:child_process';

/* Serves `handle(request) -> answer` on this process's stdin and stdout. A
 * thrown error becomes {"error": code, "message": text} and the process lives
 * on. */
export function serve(handle) {
  let rest = '';
  let turn = Promise.resolve();
  const answer = async (line) => {
    let reply;
    try {
      reply = await handle(JSON.parse(line));
    } catch (error) {
      reply = { error: errorCode(error), message: String(error?.message ?? error) };
    }
    process.stdout.write(JSON.stringify(reply ?? {}) + '\n');
  };
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line !== '') turn = turn.then(() => answer(line));
  });
  process.stdin.on('end', () => turn.then(() => process.exit(0)));
}

function errorCode(error) {
  return String(error?.code ?? error?.name ?? 'Error');
}

/* A refusal by the peer, told apart from a broken test. */
export class Refused extends Error {
  constructor(answer, request) {
    super(`${request.op}: ${answer.error}: ${answer.message ?? ''}`);
    this.code = answer.error;
  }
}

/* A peer in its own process. call() rejects with Refused when the peer answers
 * with an error and with a plain Error when it died. */
export class ProcessPeer {
  constructor(command, args, name) {
    this.name = name;
    this.waiting = [];
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdin.on('error', () => {}); // told by 'exit'
    let rest = '';
    this.child.stdout.setEncoding('utf8');
    this.child.stdout.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const line of lines) this.settle(line);
    });
    this.exited = new Promise((resolve) => {
      this.child.on('exit', (code, signal) => {
        this.dead = `${name} ended with ${signal ?? code}`;
        for (const wait of this.waiting.splice(0)) wait.reject(new Error(this.dead));
        resolve(code);
      });
    });
  }

  settle(line) {
    const { resolve, reject, request } = this.waiting.shift();
    const answer = JSON.parse(line);
    if (answer.error !== undefined) reject(new Refused(answer, request));
    else resolve(answer);
  }

  call(request) {
    if (this.dead) return Promise.reject(new Error(this.dead));
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject, request });
      this.child.stdin.write(JSON.stringify(request) + '\n');
    });
  }

  async close() {
    this.child.stdin.end();
    const code = await this.exited;
    if (code !== 0) throw new Error(this.dead);
  }
}
