/** Server-sent events: the parser of the stream's text (the HTML standard's rules) alone. */

/** An event of a stream. */
export interface SseMessage {
  /** The last id that was sent, with this event or before it. */
  id: string;
  event: string;
  data: string;
}

/** Takes the text of a stream in pieces of any size. */
export class SseParser {
  private rest = '';
  private id = '';
  private event = '';
  private data: string[] = [];
  private isFirst = true;

  /** The events that `text` completes. */
  push(text: string): SseMessage[] {
    if (this.isFirst && text !== '') {
      text = text.replace(/^\ufeff/, '');
      this.isFirst = false;
    }
    this.rest += text;
    const messages: SseMessage[] = [];
    for (;;) {
      const end = this.rest.search(/[\r\n]/);
      if (end < 0) return messages;
      // A carriage return at the very end may be the first half of an end of line.
      if (this.rest[end] === '\r' && end === this.rest.length - 1) return messages;
      const line = this.rest.slice(0, end);
      this.rest = this.rest.slice(end + (this.rest.startsWith('\r\n', end) ? 2 : 1));
      const message = this.line(line);
      if (message) messages.push(message);
    }
  }

  private line(line: string): SseMessage | null {
    if (line === '') return this.dispatch();
    if (line.startsWith(':')) return null;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this.data.push(value);
    else if (field === 'event') this.event = value;
    else if (field === 'id' && !value.includes('\0')) this.id = value;
    return null;
  }

  private dispatch(): SseMessage | null {
    const { id, event, data } = this;
    this.event = '';
    this.data = [];
    return data.length > 0 ? { id, event: event || 'message', data: data.join('\n') } : null;
  }
}
