"use strict";
const $ = (id) => document.getElementById(id);
async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
// Once for the page as it was opened, and again each time it is put into the other language.
function start() {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const words = page.words;
  const list = $("case-list");
  const cases = [...list.querySelectorAll(".case")].map((element, place) => ({
    element,
    place,
    key: element.dataset.key,
    category: element.dataset.category,
    marks: element.dataset.marks,
    errors: element.dataset.errors.split(" "),
    question: element.querySelector(".q").textContent,
    text: null,
  }));
  const blocks = [...document.querySelectorAll("script.block")];
  const opened = new Map();

  // ---- texts: in the page, or in compressed blocks that open on demand ----
  function openBlock(number) {
    if (!opened.has(number)) opened.set(number, unpack(blocks[number].textContent).then(JSON.parse));
    return opened.get(number);
  }
  async function bodyOf(item) {
    const bodies = await openBlock(Math.floor(item.place / page.perBlock));
    return bodies[item.place % page.perBlock];
  }
  async function fill(item) {
    const body = item.element.querySelector(".body");
    if (blocks.length && !body.firstChild) {
      body.textContent = words.loading;
      // The block holds HTML that was escaped when the report was made, as the rest of the page.
      try { body.innerHTML = await bodyOf(item); } catch { body.textContent = words.failed; }
    }
    arrange(item);
  }
  const entities = { "&lt;": "<", "&gt;": ">", "&amp;": "&", "&#39;": "'", "&#34;": '"' };
  async function textOf(item) {
    if (item.text === null) {
      const text = blocks.length
        ? (await bodyOf(item)).replace(/<[^>]*>/g, " ").replace(/&(lt|gt|amp|#39|#34);/g, (e) => entities[e])
        : item.element.textContent;
      item.text = `${item.question} ${item.key} ${text}`.toLowerCase();
    }
    return item.text;
  }

  // ---- side by side: two subjects, the differing tokens marked ----
  const left = $("left"), right = $("right");
  function arrange(item) {
    const sides = [...item.element.querySelectorAll(".side")];
    const chosen = [left.value, right.value].map((id) => sides.find((s) => s.dataset.subject === id));
    for (const side of sides) {
      side.hidden = !chosen.includes(side);
      side.style.order = side === chosen[0] ? 0 : 1;
    }
    if (chosen[0] && chosen[1]) markDifferences(...chosen.map((side) => [...side.querySelectorAll(".raw pre")]));
  }
  function markDifferences(ours, theirs) {
    ours.forEach((element, n) => show(element, theirs[n]));
    theirs.forEach((element, n) => show(element, ours[n]));
  }
  function original(element) {
    if (element.saved === undefined) element.saved = [...element.childNodes].map((n) => n.cloneNode(true));
    const holder = document.createElement("div");
    holder.append(...element.saved.map((n) => n.cloneNode(true)));
    return holder;
  }
  function show(element, other) {
    const own = original(element);
    element.replaceChildren(...own.childNodes);
    if (!other || other === element) return;
    const a = tokens(element.textContent), b = tokens(original(other).textContent);
    // A table of more than a million cells would be felt; such texts stay unmarked.
    if (a.length * b.length > 1e6) return;
    const kept = common(a, b);
    element.replaceChildren(...a.map((token, n) => {
      if (kept.has(n) || !token.trim()) return document.createTextNode(token);
      const mark = document.createElement("mark");
      mark.textContent = token;
      return mark;
    }));
    element.normalize();
  }
  const tokens = (text) => text.match(/U\+[0-9A-F]{4,}|\p{N}+|\p{Script=Han}|(?:(?!\p{Script=Han})[\p{L}_])+|\s+|[^]/gu) || [];
  function common(a, b) {
    const width = b.length + 1;
    const table = new Uint16Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        table[i * width + j] = a[i] === b[j]
          ? table[(i + 1) * width + j + 1] + 1
          : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    const kept = new Set();
    for (let i = 0, j = 0; i < a.length && j < b.length; )
      if (a[i] === b[j]) { kept.add(i); i++; j++; }
      else if (table[(i + 1) * width + j] >= table[i * width + j + 1]) i++;
      else j++;
    return kept;
  }

  // ---- filter, search, sort ----
  const controls = ["search", "category", "error", "outcome", "sort"].map($);
  const sides = () => [left, right].map((select) => page.subjects.indexOf(select.value));
  const outcomes = {
    gained: (a, b) => a === "0" && b === "1",
    lost: (a, b) => a === "1" && b === "0",
    both: (a, b) => a === "1" && b === "1",
    neither: (a, b) => a === "0" && b === "0",
    differ: (a, b) => a !== b,
  };
  const rightCount = (item) => [...item.marks].filter((m) => m === "1").length;
  const changed = (item) => { const [a, b] = sides(); return item.marks[a] !== item.marks[b] ? 0 : 1; };
  const orders = {
    order: () => 0,
    question: (x, y) => x.question.localeCompare(y.question, document.documentElement.lang),
    hardest: (x, y) => rightCount(x) - rightCount(y),
    easiest: (x, y) => rightCount(y) - rightCount(x),
    changed: (x, y) => changed(x) - changed(y),
  };
  let run = 0;
  async function refresh() {
    const mine = ++run;
    const needle = $("search").value.trim().toLowerCase();
    const [a, b] = sides();
    const matches = outcomes[$("outcome").value];
    const shown = [];
    if (needle && blocks.length) $("count").textContent = words.loading;
    for (const item of cases) {
      const fits = (!$("category").value || item.category === $("category").value)
        && (!$("error").value || item.errors.includes($("error").value))
        && (!matches || matches(item.marks[a], item.marks[b]))
        && (!needle || (await textOf(item)).includes(needle));
      if (mine !== run) return;
      if (fits) shown.push(item);
    }
    const visible = new Set(shown);
    for (const item of cases) item.element.hidden = !visible.has(item);
    const order = orders[$("sort").value];
    const sorted = [...cases].sort((x, y) => order(x, y) || x.place - y.place);
    if (sorted.some((item, n) => list.children[n] !== item.element)) list.append(...sorted.map((i) => i.element));
    $("count").textContent = words.shown.replace("%1", shown.length).replace("%2", cases.length);
  }
  let waiting;
  $("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(refresh, 120); });
  for (const control of controls.slice(1)) control.addEventListener("change", refresh);
  for (const select of [left, right])
    select.addEventListener("change", () => {
      for (const item of cases) if (item.element.open) arrange(item);
      refresh();
    });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("clear").addEventListener("click", () => {
    $("filters").reset();
    for (const item of cases) if (item.element.open) arrange(item);
    refresh();
  });
  for (const item of cases)
    item.element.addEventListener("toggle", () => { if (item.element.open) fill(item); });

  // ---- links to a case: #case=suite/id, with &left= and &right= if given ----
  function followLink() {
    if (!location.hash.startsWith("#case=")) return;
    const [key, ...rest] = location.hash.slice(6).split("&").map(decode);
    for (const part of rest) {
      const [name, value] = part.split("=");
      if (page.subjects.includes(value) && (name === "left" || name === "right")) $(name).value = value;
    }
    const item = cases.find((one) => one.key === key);
    if (!item) return;
    item.element.hidden = false;
    item.element.open = true;
    item.element.scrollIntoView({ block: "start", behavior: "instant" });
    item.element.querySelector("summary").focus({ preventScroll: true });
  }
  const decode = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
  window.onhashchange = followLink;

  // ---- light and dark ----
  const root = document.documentElement;
  function remember(value) { try { value ? localStorage.setItem("matinee-theme", value) : 0; return localStorage.getItem("matinee-theme"); } catch { return value; } }
  function dark() { return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches; }
  function switchTheme() { root.dataset.theme = dark() ? "light" : "dark"; remember(root.dataset.theme); pressed(); }
  function pressed() { $("theme").setAttribute("aria-pressed", String(dark())); }
  const saved = remember();
  if (saved === "light" || saved === "dark") root.dataset.theme = saved;
  $("theme").addEventListener("click", switchTheme);
  $("help-open").addEventListener("click", () => $("help").showModal());
  pressed();

  // ---- keys ----
  function move(step) {
    const shown = [...list.children].filter((element) => !element.hidden);
    const here = shown.indexOf(document.activeElement.closest(".case"));
    const next = shown[here < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, here + step))];
    if (next) next.querySelector("summary").focus();
  }
  const keys = {
    "/": () => $("search").focus(),
    j: () => move(1),
    k: () => move(-1),
    t: switchTheme,
    x: () => { [left.value, right.value] = [right.value, left.value]; left.dispatchEvent(new Event("change")); },
    "?": () => $("help").showModal(),
  };
  window.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && event.target === $("search")) {
      $("search").value = "";
      $("search").blur();
      refresh();
    } else if (!event.target.closest("input, select, textarea, dialog") && keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  };

  // ---- tables wider than the screen say so ----
  function measure() {
    for (const box of document.querySelectorAll(".scroll"))
      box.classList.toggle("more", box.scrollWidth > box.clientWidth + 1);
  }
  window.onresize = measure;
  for (const box of document.querySelectorAll("details")) box.addEventListener("toggle", measure);
  measure();

  // ---- the other language ----
  const other = $("other");
  $("switch").addEventListener("click", async () => {
    const mine = document.documentElement.lang;
    try { texts[other.lang] ??= await unpack(other.textContent); } catch { return; }
    const next = Object.keys(texts).find((code) => !mine.startsWith(code));
    // Escaped when the report was made, as the rest of the page.
    $("page").innerHTML = texts[next];
    start();
  });
  document.documentElement.lang = page.lang;
  document.title = page.title;

  for (const id of ["filters", "theme", "help-open"]) $(id).hidden = false;
  $("switch").hidden = !other;
  refresh().then(followLink);
}
const texts = $("other") ? { [document.documentElement.lang.slice(0, 2)]: $("page").innerHTML } : {};
start();
