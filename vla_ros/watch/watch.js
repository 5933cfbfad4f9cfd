"use strict";
// Polls the server's state and shows it. Text from the robot is only ever set as text.

const PERIOD_MS = 200;
const SPAN_S = 20;
const STATE_TIMEOUT_MS = 2000; // a server or a tunnel that hangs refuses nothing, and never answers
const COMMAND_TIMEOUT_MS = 3000; // the server sees what was given up, and only stops are late then
const COLORS = ["#c0392b", "#27ae60", "#2980b9", "#8e44ad"];
const token = new URLSearchParams(location.hash.slice(1)).get("token");
// A token is ASCII; what else stands in the address must not be a header that no browser sends.
const entry = token ? { Authorization: `Bearer ${encodeURIComponent(token)}` } : {};
const element = (id) => document.getElementById(id);

function tag(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function note(text, bad) {
  element("note").textContent = text;
  element("note").className = bad ? "bad" : "";
}

async function command(path, body) {
  note(`sending: ${path}`, false);
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: entry,
      body: JSON.stringify(body || {}),
      signal: AbortSignal.timeout(COMMAND_TIMEOUT_MS),
    });
    const content = await answer.json();
    if (!answer.ok) note(content.error, true);
    else note(content.silence || `sent: ${content.done}`, Boolean(content.silence));
  } catch (error) {
    note(error.name === "TimeoutError"
      ? `${path}: no answer for ${COMMAND_TIMEOUT_MS / 1000} s; it may come late, or never`
      : `${path} not sent: no connection`, true);
  }
}

function plot(canvas, rows, labels) {
  const context = canvas.getContext("2d");
  const [width, height] = [canvas.width, canvas.height];
  context.clearRect(0, 0, width, height);
  const recent = rows.filter((row) => row[0] <= SPAN_S);
  const values = recent.flatMap((row) => row.slice(1)).filter((value) => value !== null);
  if (!values.length) return;
  const low = Math.min(0, ...values);
  const high = Math.max(low + 1e-6, ...values);
  const x = (age) => width * (1 - age / SPAN_S);
  const y = (value) => height - 14 - (height - 28) * (value - low) / (high - low);
  context.font = "12px sans-serif";
  labels.forEach((label, column) => {
    context.strokeStyle = context.fillStyle = COLORS[column];
    context.beginPath();
    let pen = false;
    for (const row of recent) {
      const value = row[column + 1];
      if (value === null) { pen = false; continue; }
      pen ? context.lineTo(x(row[0]), y(value)) : context.moveTo(x(row[0]), y(value));
      pen = true;
    }
    context.stroke();
    const last = recent[recent.length - 1][column + 1];
    context.fillText(`${label} ${last === null ? "-" : last.toFixed(labels.length > 1 ? 3 : 0)}`,
      8 + 110 * column, 12);
  });
  context.fillStyle = "#888";
  context.fillText(`${low.toFixed(2)} to ${high.toFixed(2)}, last ${SPAN_S} s`, 8, height - 3);
}

function showNodes(nodes) {
  const rows = nodes.map((node) => {
    const row = document.createElement("tr");
    const figures = Object.entries(node.values).map(([key, value]) => `${key} ${value}`).join(", ");
    row.append(tag("td", node.name), tag("td", node.level, node.level),
      tag("td", node.level === "STALE" ? `silent for ${node.age_s} s` : node.message),
      tag("td", figures));
    return row;
  });
  element("nodes").replaceChildren(...rows);
}

function show(state) {
  const refused = state.writable && token && !state.authorized;
  element("connection").textContent = refused
    ? "wrong token, nothing can be stopped here: open the address that vla-ros watch printed"
    : state.authorized ? "connected" : "read-only";
  element("connection").className = refused ? "lost" : "";
  element("instruction").textContent =
    state.instruction === null ? "none yet" : state.instruction || "(empty: stop and hold)";
  for (const id of ["text", "reset", "stop"]) element(id).disabled = !state.authorized;
  element("instruct").querySelector("button").disabled = !state.authorized;
  showCameras(state.server, state.images, state.image_ages_s);
  plot(element("targets"), state.targets, ["x", "y", "z", "gripper"]);
  plot(element("latencies"), state.latencies, ["ms"]);
  showNodes(state.nodes);
}

async function poll() {
  try {
    const answer = await fetch("state", {
      headers: entry, signal: AbortSignal.timeout(STATE_TIMEOUT_MS),
    });
    show(await answer.json());
  } catch {
    loseCameras();
    element("connection").textContent = "connection lost: what you see is old";
    element("connection").className = "lost";
  }
  setTimeout(poll, PERIOD_MS);
}

element("instruct").addEventListener("submit", (event) => {
  event.preventDefault();
  command("instruction", { text: element("text").value });
});
element("stop").addEventListener("click", () => command("stop"));
element("reset").addEventListener("click", () => command("reset"));
addEventListener("hashchange", () => location.reload()); // another token
poll();
