// Everything around the grid: questions, what is shown and in which order, labels to press.

import { colour, count, labelText, percent, plural, write } from "./words.js";

const find = (id) => document.getElementById(id);
const QUESTION = "snow-labelling-question";
const EXPORTS = { csv: "Labels as a table (CSV)", folders: "Pictures in folders (ZIP)" };

export class Toolbar {
  // label(label): one was pressed; ordered(): another order; asked(name): another question;
  // named(): the name is to change; made(): a new question is wanted; added(): a new class is.
  constructor({ label, ordered, asked, named, made, added }) {
    this.label = label;
    this.added = added;
    this.show = "open";
    for (const button of find("show").children) {
      button.addEventListener("click", () => {
        this.show = button.dataset.show;
        for (const each of find("show").children) {
          each.setAttribute("aria-checked", String(each === button));
        }
        ordered();
      });
    }
    find("sort").addEventListener("change", ({ target }) => {
      target.blur(); // or the next keys would be for the list
      ordered();
    });
    find("size").addEventListener("change", ({ target }) => target.blur());
    document.addEventListener("click", ({ detail, target }) => {
      const pressed = detail && target.closest(".bar button, .actions button");
      if (pressed) pressed.blur(); // by a pointer: the next space is not for it
    });
    find("question").addEventListener("change", ({ target }) => {
      this.kept = target.value;
      asked(target.value);
      target.blur();
    });
    find("person").addEventListener("click", named);
    find("new").addEventListener("click", made);
    find("size").addEventListener("input", ({ target }) => {
      find("grid").style.setProperty("--tile", `${target.value}px`);
    });
    for (const tab of ["label", "model"]) {
      find(`tab-${tab}`).addEventListener("click", () => this.showTab(tab));
    }
  }

  get kept() {
    try {
      return localStorage.getItem(QUESTION) ?? undefined;
    } catch {
      return undefined;
    }
  }

  set kept(name) {
    try {
      localStorage.setItem(QUESTION, name);
    } catch {
      // then for as long as the page is open
    }
  }

  get wanted() {
    return { show: this.show, sort: find("sort").value };
  }

  showName(name) {
    write(find("person"), name || "Your name");
  }

  showQuestion(question) {
    this.buttons(question);
    if (question) this.kept = question.name;
    const links = Object.entries(EXPORTS).filter(([kind]) => kind === "csv" || !question?.several).map(([kind, text]) => {
      const link = document.createElement("a");
      link.textContent = text;
      link.href = `export?${new URLSearchParams({ question: question?.name ?? "", kind })}`;
      link.download = "";
      return link;
    });
    find("exports").hidden = !question || !links.length;
    find("exports").querySelector("div").replaceChildren(...links);
  }

  buttons(question) {
    const made = (question?.labels ?? []).map((label, place) => {
      const button = document.createElement("button");
      const [key, words, number] = ["kbd", "span", "i"].map((kind) => document.createElement(kind));
      key.textContent = place < 10 ? String((place + 1) % 10) : "";
      words.textContent = label;
      button.append(key, words, number);
      button.type = "button";
      button.title = label;
      button.dataset.label = label;
      button.style.setProperty("--label", colour(question.labels, label));
      button.addEventListener("click", () => this.label(label));
      return button;
    });
    if (question?.several) made.push(this.#none());
    if (question) made.push(this.#more());
    find("labels").replaceChildren(...made);
    find("actions").hidden = !question;
  }

  // What the server says of everybody's work.
  showState({ questions, people }, question, me) {
    const choice = find("question");
    const names = questions.map(({ name }) => name);
    if ([...choice.options].map(({ value }) => value).join("\n") !== names.join("\n")) {
      choice.replaceChildren(...names.map((name) => new Option(name, name)));
    }
    choice.parentElement.hidden = !names.length;
    if (question && choice.value !== question.name) choice.value = question.name;
    const others = people.filter((name) => name !== me);
    write(find("others"), others.length ? `with ${others.join(", ")}` : "");
    if (question) this.#counts(question.counts);
  }

  told(grid) {
    this.chosen(grid);
  }

  // What is chosen has changed.
  chosen(grid) {
    const tiles = grid.selection;
    const pictures = tiles.reduce((sum, { ids }) => sum + ids.length, 0);
    write(find("chosen"), pictures ? `${plural(pictures, "picture")} chosen` : "Nothing chosen");
    const offered = tiles.filter((tile) => tile.open && tile.data?.suggestion);
    const [first] = offered;
    find("accept").disabled = !offered.length;
    const text = first
      ? `Accept ${tiles.length === 1 ? labelText(first.data.suggestion.label) : offered.length}`
      : "Accept";
    write(find("accept").querySelector("span"), text);
    for (const button of find("labels").querySelectorAll("[data-label]")) {
      const { label } = button.dataset;
      const pressed = tiles.length === 1 && [tiles[0].label].flat().includes(label);
      button.setAttribute("aria-pressed", String(pressed));
    }
  }

  // What there was to show.
  ended(found) {
    this.had = found ? found.pictures : null; // what comes later is new
    const none = {
      open: "Nothing is left to do here.",
      labelled: "Nothing has a label yet.",
      skipped: "Nothing was passed over.",
      all: "No pictures yet. They come while cameras run with --collect, or by snow-deploy collect import.",
    };
    const shown = found ? found.groups.length : 0;
    let text = found && shown ? "That is all. r sorts anew." : none[this.show];
    if (!found) text = "No question yet. Press New question: a name, its classes, and which pictures.";
    if (found?.left_out) text = `${count(found.left_out)} more are not shown. Label some, then press r.`;
    write(find("end"), text);
    write(find("told"), found ? hint(found, find("sort").value) : "");
  }

  showTab(tab) {
    document.body.dataset.tab = tab;
    find("labelling").hidden = tab !== "label";
    find("model").hidden = tab !== "model";
    for (const each of ["label", "model"]) {
      find(`tab-${each}`).setAttribute("aria-selected", String(each === tab));
    }
    document.dispatchEvent(new CustomEvent("tab", { detail: tab }));
  }

  // Pictures of the Model tab stand in the grid.
  reviewed(number, words) {
    write(find("told"), `${plural(number, "picture")}: ${words}. r shows all again.`);
    write(find("end"), "");
  }

  #counts({ pictures, labelled, skipped, by_label }) {
    const [done, rest] = find("progress").children;
    write(done, count(labelled));
    write(rest, `of ${plural(pictures, "picture")} labelled${skipped ? `, ${count(skipped)} skipped` : ""}`);
    find("progress").style.setProperty("--part", String(pictures ? labelled / pictures : 0));
    find("progress").title = percent(pictures ? labelled / pictures : 0);
    this.had ??= pictures;
    const more = Math.max(0, pictures - this.had);
    write(find("again"), more ? `↻ ${count(more)} new` : "↻");
    for (const button of find("labels").querySelectorAll("[data-label]")) {
      write(button.lastElementChild, count(by_label[button.dataset.label] ?? 0));
    }
  }

  #more() {
    const button = document.createElement("button");
    button.textContent = "+";
    button.type = "button";
    button.className = "more";
    button.title = "Add a class";
    button.setAttribute("aria-label", "Add a class");
    button.addEventListener("click", () => this.added());
    return button;
  }

  #none() {
    const button = document.createElement("button");
    const [key, words, number] = ["kbd", "span", "i"].map((kind) => document.createElement(kind));
    words.textContent = "none of them";
    button.append(key, words, number);
    button.type = "button";
    button.addEventListener("click", () => this.label([]));
    return button;
  }
}

function hint(found, sort) {
  const shown = found.groups.length;
  if (!shown) return "";
  const featureless = found.without_features;
  const kept = featureless ? ` ${plural(featureless, "picture has", "pictures have")} no features and come last.` : "";
  if (sort === "alike") {
    const grouped = found.groups.filter((ids) => ids.length > 1).length;
    return `${plural(grouped, "group")} of nearly the same pictures; one key labels all of a group, Enter or a double tap opens it.${kept}`;
  }
  if (sort === "useful") return `The pictures in doubt come first, each unlike those before it.${kept}`;
  return "";
}
