// The keyboard: digits choose timeframes, s the next scope, i the next instrument, r resets the
// chart, ? explains.

const sheet = document.querySelector("#keys");
const names = (kind) => [...document.querySelectorAll(`.switch a[data-${kind}]`)]
  .map((link) => link.dataset[kind]);

export function listen({ choose, asked, reset }) {
  const help = document.querySelector("#help");
  help.hidden = false;
  help.addEventListener("click", () => sheet.showModal());
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet || event.target.closest("button")) sheet.close();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) {
      return;
    }
    const timeframe = names("timeframe")[Number(event.key) - 1];
    if (event.key === "?") toggle();
    else if (sheet.open) return;
    else if (timeframe) choose({ timeframe });
    else if (event.key === "s") choose({ scope: next(names("scope"), asked.scope) });
    else if (event.key === "i") step();
    else if (event.key === "r") reset();
  });
}

function step() {
  const links = [...document.querySelectorAll(".instruments [data-symbol]")];
  const now = links.findIndex((link) => link.hasAttribute("aria-current"));
  if (links.length > 1) location.assign(links[(now + 1) % links.length].href);
}

function toggle() {
  if (sheet.open) sheet.close();
  else sheet.showModal();
}

const next = (all, now) => all[(all.indexOf(now) + 1) % all.length];
