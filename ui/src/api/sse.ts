// Server-sent events out of a fetch body (EventSource can neither POST nor send a token).
// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
export interface ServerEvent { event: string; data: string }

/** Feed text in pieces of any size; complete events come out. */
export class EventParser {
  private rest = "";
  private event = "";
  private data: string[] = [];
  private begun = false;

  feed(text: string): ServerEvent[] {
    this.rest += text;
    if (!this.begun && this.rest.length > 0) {
      this.begun = true;
      if (this.rest.startsWith("\uFEFF")) this.rest = this.rest.slice(1);
    }
    const out: ServerEvent[] = [];
    for (;;) {
      const at = this.rest.search(/[\r\n]/);
      if (at < 0) return out;
      // A lone \r at the very end may be the first half of \r\n: wait for more.
      if (this.rest[at] === "\r" && at === this.rest.length - 1) return out;
      const line = this.rest.slice(0, at);
      this.rest = this.rest.slice(this.rest[at] === "\r" && this.rest[at + 1] === "\n" ? at + 2 : at + 1);
      const done = this.line(line);
      if (done) out.push(done);
    }
  }

  private line(line: string): ServerEvent | null {
    if (line === "") {
      const complete = this.data.length > 0 ? { event: this.event || "message", data: this.data.join("\n") } : null;
      this.event = "";
      this.data = [];
      return complete;
    }
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.event = value;
    else if (field === "data") this.data.push(value);
    return null;
  }
}

export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      yield* parser.feed(decoder.decode(value, { stream: true }));
    }
    // A last line end that was held back as a possible half of \r\n.
    yield* parser.feed("\n");
  } finally {
    // Leaving early (break, throw) must close the connection: that is what stops the server's run.
    reader.cancel().catch(() => undefined);
  }
}
