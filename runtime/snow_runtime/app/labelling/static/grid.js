// The grid: thousands of pictures, of which those near the screen are made and asked for.

import { get } from "./api.js";
import { Tile } from "./tile.js";

const CHUNK = 120; // tiles made at a time
const ASKED = 100; // pictures asked about at a time
const SETTLE_MS = 120;
const RENEW_MS = 500; // whoever labels quickly is not asked about after each

export class Grid {
  // told(): what is known of tiles on the screen has changed; chosen(): the choice has.
  constructor(element, sentinel, { told, chosen, enlarge, fail }) {
    Object.assign(this, { element, told, chosen, enlarge, fail });
    this.tiles = [];
    this.left = []; // groups of ids that have no tile yet
    this.question = null;
    this.here = -1; // place of the cursor
    this.from = -1; // where a range began
    this.picked = new Set();
    this.visible = new Set();
    this.revision = 0;
    this.asking = false;
    this.watch = new IntersectionObserver((seen) => this.#see(seen), { rootMargin: "400px" });
    new IntersectionObserver(
      (seen) => seen.some(({ isIntersecting }) => isIntersecting) && this.grow(),
      { rootMargin: "1200px" },
    ).observe(sentinel);
    element.addEventListener("click", (event) => this.#click(event));
    element.addEventListener("dblclick", (event) => event.target.closest(".tile") && this.enlarge());
  }

  // Show these groups of ids, in this order.
  fill(question, groups, me) {
    Object.assign(this, { question, me, left: [...groups], tiles: [], here: -1, from: -1 });
    this.picked.clear();
    this.visible.clear();
    this.watch.disconnect();
    this.element.replaceChildren();
    this.grow();
    if (this.tiles.length) this.go(0);
    else this.chosen();
  }

  grow() {
    const made = this.left.splice(0, CHUNK).map((ids) => new Tile(ids));
    this.tiles.push(...made);
    this.element.append(...made.map(({ element }) => element));
    for (const tile of made) {
      tile.element.place = tile;
      this.watch.observe(tile.element);
    }
    return made.length;
  }

  get current() {
    return this.tiles[this.here];
  }

  // The tiles that are chosen, in their order.
  get selection() {
    return this.tiles.filter((tile) => this.picked.has(tile));
  }

  get columns() {
    return getComputedStyle(this.element).gridTemplateColumns.split(" ").length;
  }

  move(key, ranging) {
    if (!this.tiles.length) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns };
    if (key === "End") while (this.grow());
    let place = this.here + (steps[key] ?? 0);
    if (key === "Home") place = 0;
    if (key === "End") place = this.tiles.length - 1;
    while (place >= this.tiles.length && this.grow());
    if (key === "ArrowUp" && place < 0) return;
    this.go(place, ranging);
  }

  // Put the cursor on a place; with a range, choose all from where that began.
  go(place, ranging = false) {
    const to = Math.max(0, Math.min(place, this.tiles.length - 1));
    this.touching = false;
    if (!ranging || this.from < 0) this.from = to;
    const [first, last] = [Math.min(this.from, to), Math.max(this.from, to)];
    this.#pick(new Set(this.tiles.slice(first, last + 1)), to);
    this.current.element.scrollIntoView({ block: "nearest" });
  }

  // Go to the next picture after these that nobody has said anything about.
  goOn(after) {
    const last = Math.max(this.here, ...after.map((tile) => this.tiles.indexOf(tile)));
    for (let place = last + 1; ; place++) {
      if (place >= this.tiles.length && !this.grow()) break;
      if (this.tiles[place].open) return this.go(place);
    }
    const earlier = this.tiles.findIndex((tile) => tile.open);
    this.go(earlier >= 0 ? earlier : last);
    return undefined;
  }

  seek(ids, stay = false) {
    const wanted = new Set(ids);
    const place = this.tiles.findIndex((tile) => tile.ids.some((id) => wanted.has(id)));
    if (place >= 0 && !stay) this.go(place);
    return place >= 0;
  }

  // Labels of these were taken back: what they have now is asked, and what they had is not seen.
  takenBack(ids) {
    const those = new Set(ids);
    for (const tile of this.tiles) {
      if (!tile.data || !tile.ids.some((id) => those.has(id))) continue;
      const { label: _label, by: _by, ...data } = tile.data;
      tile.show(data, -1, this.question.labels, this.me);
    }
  }

  // Put the pictures of a group in its place.
  split(tile) {
    const place = this.tiles.indexOf(tile);
    const made = tile.ids.map((id) => new Tile([id]));
    tile.element.replaceWith(...made.map(({ element }) => element));
    this.watch.unobserve(tile.element);
    this.visible.delete(tile);
    this.tiles.splice(place, 1, ...made);
    for (const each of made) {
      each.element.place = each;
      this.watch.observe(each.element);
    }
    this.go(place);
  }

  // Something has changed: what is on the screen is asked about again.
  renew(revision) {
    this.revision = Math.max(this.revision, revision);
    this.#settle(RENEW_MS);
  }

  #pick(picked, here) {
    for (const tile of this.picked) {
      if (!picked.has(tile)) tile.element.setAttribute("aria-selected", "false");
    }
    for (const tile of picked) tile.element.setAttribute("aria-selected", "true");
    this.current?.element.classList.remove("here");
    this.picked = picked;
    this.here = here;
    this.current.element.classList.add("here");
    this.element.setAttribute("aria-activedescendant", this.current.element.id);
    this.chosen();
  }

  #click(event) {
    const tile = event.target.closest(".tile")?.place;
    if (!tile) return;
    const place = this.tiles.indexOf(tile);
    const touched = event.pointerType === "touch" || event.pointerType === "pen";
    if (event.shiftKey) this.go(place, true);
    else if (event.ctrlKey || event.metaKey) this.#toggle(tile, place, this.picked);
    else if (touched) this.#toggle(tile, place, this.touching ? this.picked : []);
    else this.go(place);
    this.element.focus({ preventScroll: true });
  }

  // One more, or one less. A finger chooses one after another, without what the cursor alone chose.
  #toggle(tile, place, before) {
    const picked = new Set(before);
    this.touching = true;
    if (!picked.delete(tile)) picked.add(tile);
    if (!picked.size) {
      this.touching = false;
      picked.add(tile);
    }
    this.from = place;
    this.#pick(picked, place);
  }

  #see(seen) {
    for (const { target, isIntersecting } of seen) {
      if (isIntersecting) {
        this.visible.add(target.place);
        target.place.load(target.clientWidth);
      } else this.visible.delete(target.place);
    }
    this.#settle();
  }

  #settle(ms = SETTLE_MS) {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.#ask(), ms);
  }

  async #ask() {
    if (this.asking) return; // it settles again at its end
    const { question, revision } = this;
    const asked = [...this.visible].filter((tile) => tile.revision < revision && tile.least <= revision).slice(0, ASKED);
    if (!question || !asked.length) return;
    this.asking = true;
    try {
      const ids = asked.map(({ id }) => id).join();
      const found = await get("pictures", { question: question.name, ids });
      if (question.name === this.question?.name) this.#show(asked, found, revision);
    } catch (error) {
      this.fail(error);
      await new Promise((done) => setTimeout(done, 2000));
    } finally {
      this.asking = false;
    }
    this.#settle();
  }

  #show(asked, found, revision) {
    const known = new Map(found.pictures.map((data) => [data.id, data]));
    const of = Math.max(found.revision, revision);
    for (const tile of asked) {
      if (Math.max(tile.revision, tile.least) <= found.revision) {
        tile.show(known.get(tile.id) ?? null, of, this.question.labels, this.me);
      }
    }
    this.#shape(found.pictures[0]);
    this.told();
  }

  // Tiles have the shape of the first picture, within reason.
  #shape(picture) {
    if (this.shaped === this.question.name || !picture) return;
    this.shaped = this.question.name;
    const ratio = Math.min(1.78, Math.max(0.75, picture.width / picture.height));
    this.element.style.setProperty("--ratio", String(ratio));
  }
}
