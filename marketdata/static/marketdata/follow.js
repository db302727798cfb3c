// A part of the page that the server says anew each second; only what has changed is touched, so
// that nothing flickers and the focus stays.

const EVERY_MS = 1000;
const LATE_MS = 5000;

export function follow(root) {
  const { url } = root.dataset;
  let heardAt = performance.now();
  async function look() {
    if (document.hidden) {
      heardAt = performance.now();
    } else {
      const fresh = await ask(url, root.id).catch(() => null);
      if (fresh) {
        heardAt = performance.now();
        morph(root, fresh);
      }
      root.toggleAttribute("data-late", performance.now() - heardAt > LATE_MS);
    }
    setTimeout(look, EVERY_MS);
  }
  setTimeout(look, EVERY_MS);
}

async function ask(url, id) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(LATE_MS) });
  if (!answer.ok) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.getElementById(id);
}

// Makes one tree say what another says.
export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  const [mine, theirs] = [[...old.childNodes], [...fresh.childNodes]];
  theirs.forEach((node, at) => (at < mine.length ? morph(mine[at], node) : old.append(node)));
  mine.slice(theirs.length).forEach((node) => node.remove());
}
