// Follows server-sent events. EventSource would do, but does not say why a server refuses.

const QUIET_MS = 5000; // the server speaks five times a second

export class Refused extends Error {
  constructor(status) {
    super(`refused with status ${status}`);
    this.status = status;
  }
}

// Calls receive(name, value) for each event; returns or throws when there are no more.
export async function follow(url, receive, leave) {
  const dead = new AbortController();
  let watch = 0;
  const heard = () => {
    clearTimeout(watch);
    watch = setTimeout(() => dead.abort(new Error("the server is silent")), QUIET_MS);
  };
  const end = () => dead.abort(leave.reason);
  leave.addEventListener("abort", end);
  heard();
  try {
    const response = await fetch(url, { signal: dead.signal, cache: "no-store" });
    if (!response.ok) throw new Refused(response.status);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const [, name, data] = /^event: (.+)\ndata: (.+)$/.exec(block);
        receive(name, JSON.parse(data));
      }
    }
  } finally {
    clearTimeout(watch);
    leave.removeEventListener("abort", end);
    dead.abort();
  }
}
