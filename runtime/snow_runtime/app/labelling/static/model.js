// The Model tab: how good a question's readouts are, which one answers, and which labels to look at.

import { Refused, get, pictureUrl, post } from "./api.js";
import { accuracy, confusion, curve, make } from "./figures.js";
import { count, notice, percent, plural, when } from "./words.js";

const POLL_MS = 3000;
const SHADOW_S = 3600;
const PHASES = {
  idle: ["ok", "Up to date"],
  waiting: ["busy", "Waits until nobody labels"],
  fitting: ["busy", "Fitting"],
  lacking: ["off", "Needs more labels"],
  failed: ["bad", "Failed"],
};
const TITLES = ["Version", "Fitted", "Pictures", "Honest", "Held out", "State", ""];
const STATES = {
  live: ["ok", "answers"],
  shadow: ["busy", "in the shadow"],
  candidate: ["off", "held back"],
  retired: ["off", "answered before"],
};

export class ModelTab {
  // review(groups, words): show these pictures in the grid, to be labelled.
  constructor(element, review) {
    this.element = element;
    this.review = review;
    this.question = null;
    this.offered = false;
    this.shown = "";
    document.addEventListener("tab", () => this.#look());
    setInterval(() => this.#look(), POLL_MS);
  }

  offer(there) {
    this.offered = there;
    document.getElementById("tab-model").hidden = !there;
  }

  show(question) {
    if (question?.name !== this.question?.name) {
      this.shown = "";
      this.element.replaceChildren();
    }
    this.question = question;
    this.#look();
  }

  async #look() {
    const { question } = this;
    if (!this.offered || !question || this.element.hidden || document.hidden) return;
    try {
      const found = await get("model", { question: question.name });
      const text = JSON.stringify(found);
      if (question !== this.question || text === this.shown) return;
      this.shown = text;
      this.#render(found);
    } catch (error) {
      if (error instanceof Refused) notice(error.message, "bad");
    }
  }

  async #act(what, given, done) {
    try {
      await post(`model/${what}`, { question: this.question.name, ...given });
      notice(done);
    } catch (error) {
      notice(error.message, "bad");
    }
    this.#look();
  }

  #render({ can, status, report, versions }) {
    const column = (...cards) => {
      const found = make("div", "column");
      found.append(...cards.filter(Boolean));
      return found;
    };
    const { version, curve: points, confusion: cells, likely_errors: errors, duplicates } = report ?? {};
    const parts = [
      column(this.#status(status, can), version && this.#accuracy(report)),
      column(points?.length && this.#curve(report)),
      column(cells && this.#confusion(report), duplicates?.length && this.#duplicates(report)),
      errors?.length && this.#errors(report),
      versions && this.#versions(versions, status, can),
    ];
    this.element.replaceChildren(...parts.filter(Boolean));
  }

  #status(status, can) {
    const box = card("Fit");
    const [tone, words] = PHASES[status?.phase] ?? ["off", status?.phase ?? "Not known"];
    const state = make("p", "state", words);
    state.dataset.tone = tone;
    box.append(state);
    if (status?.text) box.append(make("p", "hint", status.text));
    const { shadow } = status ?? {};
    if (shadow) {
      const differed = Object.values(shadow.differed ?? {}).reduce((sum, each) => sum + each, 0);
      const until = `Version ${shadow.number} answers beside the live one until ${when(shadow.until)}`;
      box.append(make("p", "", `${until}: ${count(shadow.agreed)} answers the same, ${count(differed)} not.`));
      const list = Object.entries(shadow.differed ?? {}).map(([pair, times]) => `${pair} ${times}×`);
      if (list.length) box.append(make("p", "hint", list.join(", ")));
    }
    if (can.includes("fit")) {
      box.append(pressed("Fit now", () => this.#act("fit", {}, "It will be fitted in a moment.")));
    }
    return box;
  }

  #accuracy({ version, pictures, moments }) {
    const box = card(`Version ${version.number}: how good it is`);
    const { honest, cross_validated: own } = version;
    if (honest) {
      const { accuracy: value, low, high, pictures: number } = honest;
      const hint = `On ${plural(number, "random picture")} that each fit had not seen: between ${percent(low)} and ${percent(high)}, with 95\u202f% confidence. This is what to expect of the cameras.`;
      box.append(accuracy("Honest accuracy", value, low, high, hint));
    } else {
      box.append(make("p", "", "Nothing honest can be said yet: label some of the random pictures."));
    }
    if (own) {
      const error = 2 * (own.standard_error ?? 0);
      const of = moments === undefined ? "" : ` of ${plural(moments, "moment")}`;
      const hard = (honest?.pictures ?? 0) < (pictures ?? 0) ? " Many of these were kept for being hard." : "";
      const hint = `Cross-validated on all ${plural(pictures ?? 0, "labelled picture")}${of}.${hard}`;
      box.append(accuracy("On what is labelled", own.accuracy, own.accuracy - error, own.accuracy + error, hint));
    }
    for (const remark of version.remarks ?? []) box.append(make("p", "hint", remark));
    return box;
  }

  #curve({ curve: points, forecast }) {
    const box = card("Would more labels help?");
    if (forecast?.advice) box.append(make("p", "advice", forecast.advice));
    box.append(curve(points, forecast), make("p", "hint", "Accuracy on held-out pictures by how many were fitted on. The light part is what more labels may bring, with its interval of 90\u202f%."));
    return box;
  }

  #confusion({ confusion: cells }) {
    const box = card("What is taken for what");
    const frame = make("div", "scroll");
    frame.append(confusion(cells, (ids, words) => this.review(ids.map((id) => [id]), words)));
    box.append(frame, make("p", "hint", "Each picture while it was held out. Press a number to see its pictures, and label them anew."));
    return box;
  }

  #errors({ likely_errors: errors }) {
    const box = card("Labels that are likely wrong");
    const list = make("ul", "strip");
    for (const { id, label, suggested, probability } of errors.slice(0, 24)) {
      const item = make("li");
      item.append(picture(id), make("span", "", `${label} → ${suggested}?`));
      item.title = `Labelled ${label}; fits without this picture give that ${percent(probability)}`;
      list.append(item);
    }
    const ids = errors.map(({ id }) => id);
    const words = "labels that are likely wrong";
    box.append(list, pressed(`Look at ${ids.length === 1 ? "it" : `all ${ids.length}`} in the grid`, () => this.review(ids.map((id) => [id]), words)));
    return box;
  }

  #duplicates({ duplicates }) {
    const groups = duplicates.filter(({ length }) => length > 1);
    if (!groups.length) return null;
    const box = card("Nearly the same pictures");
    const number = groups.reduce((sum, { length }) => sum + length, 0);
    box.append(make("p", "hint", `${plural(groups.length, "group")} of ${count(number)} pictures, each counted once: none is held out while its copy is fitted on.`));
    box.append(pressed("Look at them in the grid", () => this.review(groups, "nearly the same pictures")));
    return box;
  }

  #versions(versions, status, can) {
    const box = card("Versions");
    if (!versions.length) {
      box.append(make("p", "hint", "None yet. The first is fitted when each class has a few labels."));
      return box;
    }
    const table = make("table", "versions");
    const head = make("tr");
    head.append(...TITLES.map((each) => make("th", "", each)));
    table.append(head, ...[...versions].reverse().map((each) => this.#version(each, status, can)));
    const frame = make("div", "scroll");
    frame.append(table);
    box.append(frame);
    return box;
  }

  #version({ number, created_at, labels, honest, cross_validated: own, state, reason, sha256, data_sha256 }, status, can) {
    const line = make("tr");
    const cell = (text, title = "") => {
      const found = make("td", "", text);
      found.dataset.title = title;
      return found;
    };
    const total = Object.values(labels ?? {}).reduce((sum, each) => sum + each, 0);
    const held = own && percent(own.accuracy ?? own[0]);
    const [tone, words] = STATES[state] ?? ["off", state];
    const last = cell("");
    const said = make("span", "state", words);
    said.dataset.tone = tone;
    last.append(said, make("p", "hint", reason ?? ""));
    const buttons = cell("");
    if (state !== "live" && can.includes("back")) {
      const done = `Version ${number} answers now.`;
      buttons.append(pressed(state === "retired" ? "Go back" : "Let it answer", () => this.#act("back", { number }, done)));
    }
    if (state !== "live" && state !== "shadow" && can.includes("shadow") && status?.live) {
      const given = { number, seconds: SHADOW_S };
      buttons.append(pressed("Shadow, 1 h", () => this.#act("shadow", given, `Version ${number} answers beside the live one for an hour.`)));
    }
    line.append(
      ...[
        String(number),
        when(created_at),
        count(total),
        honest ? `${percent(honest.accuracy)} (${percent(honest.low)} – ${percent(honest.high)})` : "–",
        held ?? "–",
      ].map((text, place) => cell(text, TITLES[place])),
      last,
      buttons,
    );
    line.title = `readout ${sha256?.slice(0, 12)}, data ${data_sha256?.slice(0, 12)}`;
    return line;
  }
}

function card(title) {
  const found = make("section", "card");
  found.append(make("h2", "", title));
  return found;
}

function pressed(words, act) {
  const button = make("button", "", words);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

function picture(id) {
  const found = make("img");
  found.src = pictureUrl(id, 120);
  found.alt = `Picture ${id}`;
  found.loading = "lazy";
  return found;
}
