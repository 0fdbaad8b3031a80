"use strict";
// The console page: reads /events, keeps the newest requests in a table, and draws what each server holds.

const MAX_ROWS = 250; // shown
const MAX_KEPT = 2000; // to look through with the filter
const RATE_POINTS = 120;
const FAULTS = [
  ["503 ×5", { action: "status", status: 503, times: 5 }],
  ["delay 1 s ×10", { action: "delay", delay_s: 1, times: 10 }],
  ["reset ×3", { action: "reset", times: 3 }],
  ["reset after work ×3", { action: "reset", apply: true, times: 3 }],
  ["hang ×1", { action: "hang", times: 1 }],
  ["truncate ×3", { action: "truncate", times: 3 }],
];

const by = (id) => document.getElementById(id);
const panels = new Map(); // name -> {element, rates, parts}
let chosenPanel = null;
let paused = false;
let onlyChosen = false;
let waiting = []; // updates not drawn yet
let kept = []; // requests, oldest first

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function drawing(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

async function ask(method, path, body) {
  const options = { method };
  if (body !== undefined) options.body = JSON.stringify(body);
  const reply = await fetch(path, options);
  const value = reply.status === 204 ? null : await reply.json();
  if (!reply.ok) throw new Error(value.error || reply.statusText);
  return value;
}

const act = (promise) => promise.then(refreshState).catch((error) => alert(error.message));

// Servers

const hues = []; // names in order of their first appearance: each keeps its colour

function hue(name) {
  if (!hues.includes(name)) hues.push(name);
  return `hue${hues.indexOf(name) % 6}`;
}

function panelFor(name) {
  let panel = panels.get(name);
  if (panel) return panel;
  const at = encodeURIComponent(name);
  const parts = {
    numbers: element("div", { class: "numbers" }),
    speed: element("div", { class: "numbers" }, "\u00a0"),
    rate: drawing("svg", { class: "rate", viewBox: "0 0 120 30", preserveAspectRatio: "none" }, drawing("path", { d: "" })),
    nodes: element("ul", { class: "nodes" }),
    faults: element("div", { class: "faults" }),
    buttons: element("details", {}, element("summary", {}, "faults and reset"), element("div", { class: "buttons" })),
  };
  const buttons = parts.buttons.lastChild;
  for (const [title, fault] of FAULTS)
    buttons.append(element("button", { type: "button", onclick: () => act(ask("POST", `faults/${at}`, fault)) }, title));
  buttons.append(
    element("button", { type: "button", onclick: () => act(ask("DELETE", `faults/${at}`)) }, "no faults"),
    element("button", { type: "button", onclick: () => confirm(`Empty ${name}?`) && act(ask("POST", `reset/${at}`)) }, "reset"),
  );
  const made = element("div", { class: `panel ${hue(name)}`, "data-panel": name }, element("h2", { onclick: () => choose(name) }, name), ...Object.values(parts));
  panel = { element: made, parts, rates: [], nodes: "" };
  panels.set(name, panel);
  by("panels").append(made);
  if (chosenPanel === null) choose(name);
  return panel;
}

function choose(name) {
  chosenPanel = name;
  for (const [other, panel] of panels) panel.element.classList.toggle("chosen", other === name);
  by("only").textContent = `only ${name}`;
  if (onlyChosen) redraw();
  tab("state");
  refreshState();
}

function drawPanel(entry) {
  const panel = panelFor(entry.name);
  const { parts } = panel;
  const isServer = entry.faults !== undefined, isCounted = entry.total !== undefined;
  for (const part of [parts.buttons, parts.nodes]) part.style.display = isServer ? "" : "none";
  for (const part of [parts.rate, parts.speed]) part.style.display = isCounted ? "" : "none";
  if (!isCounted) return;
  panel.rates.push(entry.rate);
  if (panel.rates.length > RATE_POINTS) panel.rates.shift();
  const peak = Math.max(1, ...panel.rates);
  parts.rate.firstChild.setAttribute("d", panel.rates.map((rate, i) => `${i ? "L" : "M"}${i},${29 - (28 * rate) / peak}`).join(""));
  if (entry.p50 !== null) parts.speed.textContent = `p50 ${short3(entry.p50)} · p99 ${short3(entry.p99)} ms`;
  parts.numbers.textContent = `${entry.total.toLocaleString()} ${entry.unit || "requests"} · ${Math.round(entry.rate).toLocaleString()}/s`;
  if (!isServer) return;
  parts.faults.textContent = entry.faults.map((fault) => `${fault.action}${fault.left ? ` ×${fault.left}` : ""} on ${fault.method} ${fault.path}`).join(", ");
  const nodes = JSON.stringify(entry.nodes);
  if (nodes === panel.nodes) return;
  panel.nodes = nodes;
  parts.nodes.replaceChildren(...entry.nodes.map((node) => {
    const line = element("li", {}, element("span", { class: node.running ? "" : "down" }, `${node.name} ${node.url.replace("http://", "")}`));
    if (node.kill) {
      const action = node.running ? "kill" : "start";
      line.append(element("button", { type: "button", onclick: () => act(ask("POST", `nodes/${encodeURIComponent(entry.name)}/${encodeURIComponent(node.name)}/${action}`)) }, action));
    }
    return line;
  }));
}

// Traffic

const wanted = () => by("filter").value.toLowerCase().split(/\s+/).filter(Boolean);

function matches(row, words) {
  if (onlyChosen && row.panel !== chosenPanel) return false;
  const text = `${row.panel} ${row.node} ${row.method} ${row.target} ${row.status} ${row.fault || ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

function drawRow(row) {
  const grade = row.status === null || row.status >= 500 ? "bad" : row.status >= 400 ? "warn" : "good";
  const time = new Date(row.at * 1000).toLocaleTimeString();
  const made = element("tr", { onclick: () => showRequest(row, made), "data-status": row.status ?? "none" },
    element("td", {}, time), element("td", { class: `node ${hue(row.panel)}` }, row.node), element("td", {}, row.method), element("td", { title: row.target }, row.target),
    element("td", { class: grade }, row.status ?? "none"), element("td", {}, row.ms.toFixed(1)), element("td", {}, row.size.toLocaleString()),
    element("td", { class: "warn" }, row.fault || ""));
  return made;
}

function draw() {
  const updates = waiting;
  waiting = [];
  if (!updates.length) return;
  const last = updates[updates.length - 1];
  for (const update of updates) update.panels.forEach(drawPanel);
  const alive = new Set(last.panels.map((entry) => entry.name));
  for (const [name, panel] of panels) if (!alive.has(name)) { panel.element.remove(); panels.delete(name); if (chosenPanel === name) chosenPanel = null; }
  const arrived = updates.reduce((sum, update) => sum + update.new, 0);
  const listed = updates.reduce((sum, update) => sum + update.rows.length, 0);
  by("sampled").textContent = arrived > listed ? `showing ${listed} of ${arrived.toLocaleString()} (sampled)` : "";
  const fresh = updates.flatMap((update) => update.rows);
  kept.push(...fresh);
  if (kept.length > MAX_KEPT) kept = kept.slice(-MAX_KEPT);
  if (!paused) list(fresh);
}

function list(found) {
  const words = wanted(), rows = by("rows");
  const fragment = document.createDocumentFragment();
  fragment.append(...found.filter((row) => matches(row, words)).slice(-MAX_ROWS).reverse().map(drawRow));
  rows.prepend(fragment);
  while (rows.childElementCount > MAX_ROWS) rows.lastElementChild.remove();
  by("empty").hidden = rows.childElementCount > 0;
}

function redraw() {
  by("rows").replaceChildren();
  list(kept);
}

// One request

const pretty = (body, size) => {
  if (body.base64 !== undefined) return `(${size} bytes, not text) ${body.base64}`;
  try { return JSON.stringify(JSON.parse(body.text), null, 2); } catch { return body.text; }
};

async function showRequest(row, line) {
  for (const other of document.querySelectorAll("#rows tr.chosen")) other.classList.remove("chosen");
  line.classList.add("chosen");
  tab("request");
  const place = by("request");
  let whole;
  try { whole = await ask("GET", `exchange/${encodeURIComponent(row.panel)}/${row.number}`); }
  catch (error) { place.replaceChildren(element("p", { class: "warn" }, error.message)); return; }
  const headers = (list) => list.map(([name, value]) => `${name}: ${value}`).join("\n");
  const curl = element("pre", { id: "curl" }, whole.curl);
  const copy = element("button", { type: "button", id: "copy", onclick: () => copyText(whole.curl, copy) }, "copy as curl");
  place.replaceChildren(
    element("h3", {}, `${whole.method} ${whole.target}`), copy, curl,
    element("h3", {}, "request"), element("pre", {}, headers(whole.request_headers)),
    ...(whole.request_size ? [element("pre", {}, pretty(whole.request_body, whole.request_size))] : []),
    element("h3", {}, `reply ${whole.status ?? "none: the connection was ended"} after ${(whole.duration_s * 1000).toFixed(1)} ms${whole.fault ? `, fault ${whole.fault}` : ""}`),
    element("pre", {}, headers(whole.response_headers)),
    ...(whole.response_size ? [element("pre", {}, pretty(whole.response_body, whole.response_size))] : []));
}

async function copyText(text, button) {
  try { await navigator.clipboard.writeText(text); }
  catch { getSelection().selectAllChildren(by("curl")); document.execCommand("copy"); }
  button.textContent = "copied";
}

// State

function plot(name, result) {
  const feature = Object.keys(result.observed)[0];
  const observed = result.observed[feature], expected = result.predicted[feature];
  const lower = result.predicted[`lower_${feature}`], upper = result.predicted[`upper_${feature}`];
  const values = [...observed, ...lower, ...upper].filter((value) => value !== null);
  const low = Math.min(...values), span = Math.max(...values) - low || 1, width = Math.max(1, observed.length - 1);
  const y = (value) => 98 - (96 * (value - low)) / span;
  const line = (list) => { let pen = "M"; return list.map((value, i) => { if (value === null) { pen = "M"; return ""; } const step = `${pen}${i},${y(value).toFixed(2)}`; pen = "L"; return step; }).join(""); };
  const present = lower.map((_, i) => i).filter((i) => lower[i] !== null);
  const band = present.map((i) => `${i},${y(upper[i])}`).concat(present.reverse().map((i) => `${i},${y(lower[i])}`)).join(" ");
  const shape = drawing("svg", { class: "plot", viewBox: `0 0 ${width} 100`, preserveAspectRatio: "none", role: "img", "aria-label": `${name}: observed and expected` },
    drawing("polygon", { class: "band", points: band }), drawing("path", { class: "expected", d: line(expected) }), drawing("path", { class: "observed", d: line(observed) }));
  let count = 0;
  (result.stats || []).forEach((entry, i) => {
    if (!entry.anomaly || observed[i] === null) return;
    count += 1;
    shape.append(drawing("ellipse", { class: "anomaly", cx: i, cy: y(observed[i]), rx: width / 160, ry: 2 }));
  });
  return [element("h3", {}, `${name}: ${feature}, ${count} unusual of ${observed.length}`), shape];
}

function pipeline(servers, workers) {
  const width = 104, height = 34, gap = 30, busy = Math.max(1, ...workers.map((worker) => worker.busy));
  const crews = servers.map((server) => workers.filter((worker) => worker.of === server.name));
  const total = 50 + 22 * Math.max(0, ...crews.map((crew) => crew.length));
  const shape = drawing("svg", { class: "pipeline", viewBox: `0 0 ${Math.max(480, servers.length * (width + gap))} ${total}`, role: "img", "aria-label": "servers and their workers" });
  servers.forEach((server, i) => {
    const x = 1 + i * (width + gap);
    if (i) shape.append(drawing("path", { class: "arrow", d: `M${x - gap + 2},${height / 2}H${x - 3}m-6,-4l6,4l-6,4` }));
    shape.append(
      drawing("rect", { class: server.state === "up" ? "server" : "server down", x, y: 1, width, height, rx: 6 }),
      drawing("text", { x: x + 8, y: 15 }, server.name),
      drawing("text", { class: "dim", x: x + 8, y: 29 }, server.state === "up" ? `${number(server.rate ?? 0)}/s` : server.state));
    crews[i].forEach((worker, j) => {
      const y = 44 + 22 * j;
      shape.append(
        drawing("path", { class: "arrow", d: `M${x + 8},${height + 2}V${y + 9}h8` }),
        drawing("rect", { class: "worker", x: x + 16, y, width: width - 16, height: 18, rx: 4 }),
        drawing("rect", { class: "busy", x: x + 16, y, width: ((width - 16) * worker.busy) / busy, height: 18, rx: 4 }),
        drawing("text", { x: x + 21, y: y + 13 }, `${worker.name.replace(`${server.name}-`, "")} ${number(worker.done)}`));
    });
  });
  return shape;
}

const short3 = (value) => value.toLocaleString(undefined, { maximumSignificantDigits: 3 });
const number = (value) => value.toLocaleString(undefined, { maximumFractionDigits: 3 });
const isTime = (key, value) => /(^|_)(time|timestamp|at|modified|date)$/.test(key) && value > 1e9 && value < 1e10;
const isName = (key) => /(^|_)(serial|port|number|pid|status|shard)$/.test(key); // numbers that count nothing
const short = (words, limit) => (words.length > limit ? `${words.slice(0, limit - 1)}…` : words);
const BARS = new Set(["items", "records", "messages", "connections", "carried_bytes", "received", "done", "points"]);

function text(key, value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return isTime(key, value) ? new Date(value * 1000).toLocaleTimeString() : isName(key) ? String(value) : number(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function flat(item) { // members of an object inside a row are columns of their own
  const isPlain = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
  return Object.fromEntries(Object.entries(item).flatMap(([key, value]) => (isPlain(value) ? Object.entries(value).filter(([, inner]) => !isPlain(inner)) : [[key, value]])));
}

function table(rows) {
  const shown = rows.slice(0, 100).map(flat);
  const columns = [...new Set(shown.flatMap(Object.keys))];
  const peaks = Object.fromEntries(columns.filter((column) => BARS.has(column)).map((column) => [column, Math.max(1, ...shown.map((row) => Number(row[column]) || 0))]));
  const cell = (row, column) => {
    const whole = text(column, row[column]), share = peaks[column] ? (100 * (Number(row[column]) || 0)) / peaks[column] : 0;
    const made = element("td", { title: whole, class: typeof row[column] === "number" ? "number" : "" }, /^(0x)?[0-9a-f-]{24,}$/.test(whole) ? short(whole, 12) : short(whole, 44));
    if (share) { made.classList.add("bar"); made.style.setProperty("--share", `${share}%`); }
    return made;
  };
  const made = element("table", {}, element("thead", {}, element("tr", {}, ...columns.map((column) => element("th", {}, column.replaceAll("_", " "))))),
    element("tbody", {}, ...shown.map((row) => element("tr", {}, ...columns.map((column) => cell(row, column))))));
  return element("div", { class: "wide" }, made, ...(rows.length > shown.length ? [`and ${rows.length - shown.length} more`] : []));
}

function tree(value, key = "") {
  if (value === null || typeof value !== "object") return document.createTextNode(text(key, value));
  if (Array.isArray(value)) {
    if (!value.length) return document.createTextNode("none");
    if (value.some((item) => item === null || typeof item !== "object" || Array.isArray(item))) return document.createTextNode(value.slice(0, 50).map((item) => short(text("", item), 24)).join(", "));
    return table(value);
  }
  return element("dl", {}, ...Object.entries(value).flatMap(([name, item]) => [element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, tree(item, name))]));
}

async function refreshState() {
  if (chosenPanel === null || by("state").hidden) return;
  const name = chosenPanel;
  let state;
  try { state = await ask("GET", `state/${encodeURIComponent(name)}`); }
  catch (error) {
    if (by("state").dataset.of !== name) by("state").replaceChildren(element("p", { class: "warn" }, error.message));
    else if (name === chosenPanel) by("stale").textContent = error.message; // what it held last stays in sight
    return;
  }
  if (name !== chosenPanel) return;
  if (state.servers?.length === 0) return; // a cluster that starts
  const { predictions = {}, streams = [], tables = [], ...rest } = Array.isArray(state) ? { list: state } : state;
  const drawn = Object.entries(predictions).flatMap(([model, result]) => plot(model, result));
  if (rest.servers?.length) drawn.push(pipeline(rest.servers, rest.workers ?? []));
  for (const one of tables) drawn.push(element("h3", {}, `table ${one.table}: ${number(one.items)} items`), table(one.newest));
  for (const one of streams) drawn.push(element("h3", {}, `stream ${one.stream}: ${one.shards.length} shards`), table(one.shards));
  const single = Object.entries(rest).filter(([, value]) => value === null || typeof value !== "object");
  if (single.length) drawn.push(tree(Object.fromEntries(single)));
  const empty = ([, value]) => value !== null && typeof value === "object" && !Object.keys(value).length;
  const parts = Object.entries(rest).filter((entry) => !single.some(([key]) => key === entry[0]) && !empty(entry));
  const none = Object.entries(rest).filter(empty).map(([key]) => key.replaceAll("_", " "));
  drawn.push(...parts.flatMap(([key, value]) => [element("h3", {}, key.replaceAll("_", " ")), tree(value, key)]));
  if (none.length) drawn.push(element("p", { class: "dim" }, `none: ${none.join(", ")}`));
  by("state").className = hue(name);
  by("state").dataset.of = name;
  by("state").replaceChildren(element("h2", {}, name), element("p", { id: "stale", class: "warn" }), ...drawn);
}

function tab(name) {
  for (const each of ["state", "request"]) {
    by(each).hidden = each !== name;
    by(`tab-${each}`).setAttribute("aria-selected", each === name);
  }
}

// Life

by("pause").addEventListener("click", () => { paused = !paused; by("pause").setAttribute("aria-pressed", paused); if (!paused) redraw(); });
by("clear").addEventListener("click", () => { kept = []; redraw(); });
by("filter").addEventListener("input", redraw);
by("only").addEventListener("click", () => { onlyChosen = !onlyChosen; by("only").setAttribute("aria-pressed", onlyChosen); redraw(); });
by("tab-state").addEventListener("click", () => { tab("state"); refreshState(); });
by("tab-request").addEventListener("click", () => tab("request"));
setInterval(refreshState, 1000);

const events = new EventSource("events");
events.onopen = () => { by("connection").textContent = "live"; by("connection").className = "on"; };
events.onerror = () => { by("connection").textContent = "disconnected"; by("connection").className = "off"; };
events.onmessage = (message) => {
  waiting.push(JSON.parse(message.data));
  if (waiting.length > 40) waiting.splice(0, waiting.length - 40); // a hidden tab draws nothing
  if (waiting.length === 1) requestAnimationFrame(draw);
};
