// Windows that ask: a name, a new question, the keys, a picture in large.

import { Refused, pictureUrl, post } from "./api.js";
import { KEYS } from "./keys.js";
import { labelText, percent, when, write } from "./words.js";

const NAME = "snow-labelling-name";
const find = (id) => document.getElementById(id);

for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[value=cancel]")) {
    button.addEventListener("click", () => dialog.close("cancel"));
  }
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close("cancel"); // beside it
  });
}

// Shows a form until what it gives is accepted; resolves to that, or to null where it is cancelled.
function asked(dialog, accept) {
  const form = dialog.querySelector("form");
  const wrong = dialog.querySelector(".wrong");
  wrong.hidden = true;
  return new Promise((done) => {
    let found = null;
    const submit = async (event) => {
      event.preventDefault();
      try {
        found = await accept(new FormData(form));
        dialog.close();
      } catch (error) {
        wrong.hidden = false;
        write(wrong, error instanceof Refused || error.said ? error.message : String(error));
      }
    };
    form.addEventListener("submit", submit);
    dialog.addEventListener(
      "close",
      () => {
        form.removeEventListener("submit", submit);
        done(found);
      },
      { once: true },
    );
    dialog.showModal();
  });
}

export function person() {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return person.kept ?? ""; // a browser that keeps nothing
  }
}

function keep(name) {
  person.kept = name;
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // then for as long as the page is open
  }
}

export async function askName() {
  const dialog = find("ask-name");
  dialog.querySelector("input").value = person();
  const name = await asked(dialog, (form) => {
    const given = form.get("person").trim();
    if (!given) throw Object.assign(new Error("A name has a letter at least."), { said: true });
    return given;
  });
  if (name) keep(name);
  return name;
}

export async function askQuestion(views) {
  const dialog = find("ask-question");
  dialog.querySelector("form").reset();
  const choice = dialog.querySelector("select");
  choice.replaceChildren(
    ...views.map(({ camera, view, pictures }, place) => {
      const where = camera === null ? "all cameras" : camera;
      const text = `${where}${view ? ` / ${view}` : ""} (${pictures})`;
      return new Option(text, String(place));
    }),
  );
  return asked(dialog, async (form) => {
    const place = views[Number(form.get("view"))] ?? { camera: null, view: null };
    const lines = form.get("labels").split(/[\n,;]/);
    const question = {
      name: form.get("name").trim(),
      labels: lines.map((line) => line.trim()).filter(Boolean),
      camera: place.camera,
      view: place.view,
      several: form.get("several") === "on",
    };
    await post("questions", question);
    return question.name;
  });
}

// Adds a class to a question; resolves to it, or to null.
export async function askClass(question) {
  const dialog = find("ask-class");
  dialog.querySelector("form").reset();
  return asked(dialog, async (form) => {
    const given = form.get("class").trim();
    await post("classes", { question: question.name, labels: [given] });
    return given;
  });
}

export function showKeys() {
  const list = find("help-keys");
  if (!list.childElementCount) {
    for (const [keys, does] of KEYS) {
      const term = document.createElement("dt");
      keys.forEach((key, place) => {
        if (place) term.append(" ");
        const shown = document.createElement("kbd");
        shown.textContent = key;
        term.append(shown);
      });
      const text = document.createElement("dd");
      text.textContent = does;
      list.append(term, text);
    }
  }
  find("help").showModal();
}

export class Large {
  constructor() {
    this.dialog = find("large");
    this.image = this.dialog.querySelector("img");
    this.words = this.dialog.querySelector(".hint");
  }

  get open() {
    return this.dialog.open;
  }

  show(tile) {
    const { id, data } = tile;
    const url = pictureUrl(id, Math.min(innerWidth, 1280));
    if (this.id !== id) this.image.src = url;
    this.id = id;
    this.image.alt = `Picture ${id}`;
    write(this.words, data ? about(data) : "");
    if (!this.open) this.dialog.showModal();
  }

  close() {
    if (this.open) this.dialog.close("cancel");
  }
}

const REASONS = {
  random: "a random sample",
  unknown: "the answer was unknown",
  unsure: "the answer was unsure",
  changed: "the answer changed",
  unlike: "unlike those kept before",
  imported: "imported",
};

function about({ camera, view, taken_at, reason, label, by, suggestion }) {
  const parts = [view ? `${camera} / ${view}` : camera];
  if (taken_at) parts.push(when(taken_at));
  parts.push(REASONS[reason] ?? reason);
  if (label !== undefined) parts.push(labelText(label) + (by ? ` by ${by}` : ""));
  for (const who of ["model", "neighbours"]) {
    const said = suggestion?.[who];
    if (said) parts.push(`${who}: ${labelText(said.label)} ${percent(said.sure)}`);
  }
  return parts.join(" · ");
}
