// Fetches a camera's pictures one after another, never two at a time: a slow link shows fewer.

const REST_MS = 100;

export class Picture {
  constructor(canvas, name) {
    this.canvas = canvas;
    this.path = `frame/${encodeURIComponent(name)}.jpg`;
    this.tag = "";
    this.busy = false;
    this.shown = false;
  }

  // Show what is newest; go on by itself while there is something newer each time.
  async refresh(leave) {
    if (this.busy) return;
    this.busy = true;
    try {
      while (!leave.aborted && (await this.#next(leave))) {
        await new Promise((done) => setTimeout(done, REST_MS));
      }
    } catch {
      // The stream of events says what is wrong; it also asks for the next picture.
    } finally {
      this.busy = false;
    }
  }

  async #next(leave) {
    const pixels = Math.ceil(this.canvas.clientWidth * Math.min(devicePixelRatio, 2));
    const response = await fetch(`${this.path}?width=${pixels || 640}`, {
      signal: leave,
      cache: "no-store",
      headers: this.tag ? { "If-None-Match": this.tag } : {},
    });
    if (response.status !== 200) return false;
    const bitmap = await createImageBitmap(await response.blob());
    this.tag = response.headers.get("ETag") ?? "";
    this.#draw(bitmap);
    return true;
  }

  #draw(bitmap) {
    const { canvas } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.parentElement.style.setProperty("--ratio", `${bitmap.width} / ${bitmap.height}`);
    }
    canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    bitmap.close();
    this.shown = true;
  }
}
