// What a page does by itself: times that stay true, and whether it is live.
// All else is htmx and its stream; without scripts a page is still a page.
"use strict";

function ago(seconds) {
  if (seconds < -60) return "in the future";
  if (seconds < 5) return "just now";
  if (seconds < 60) return Math.floor(seconds) + " s ago";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
  if (seconds < 48 * 3600) return Math.floor(seconds / 3600) + " h ago";
  return Math.floor(seconds / 86400) + " days ago";
}

function tick() {
  for (const t of document.querySelectorAll("time[data-ago]")) {
    const text = ago((Date.now() - Date.parse(t.dateTime)) / 1000);
    if (t.textContent !== text) t.textContent = text;
  }
}
setInterval(tick, 5000);

function say(state, text) {
  const link = document.getElementById("link");
  if (!link || link.dataset.state === state) return;
  link.dataset.state = state;
  document.getElementById("link-text").textContent = text;
}

document.addEventListener("htmx:sse:after:connection", (e) => {
  if (e.detail.connection.status === 200) say("live", "live");
});
document.addEventListener("htmx:sse:before:connection", (e) => {
  if (e.detail.connection.attempt > 0) say("lost", "reconnecting…");
});
document.addEventListener("htmx:sse:error", (e) => {
  if (e.detail.status === 401) say("out", "signed out: open the new address");
  else if (e.detail.status === 404) say("out", "gone");
  else say("lost", "reconnecting…");
});
// The first connection is an ordinary request, which htmx does not repeat.
document.addEventListener("htmx:error", () => say("out", "not live: reload"));
