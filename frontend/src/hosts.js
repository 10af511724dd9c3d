// Where answers come from: our server, a notebook's kernel, or what a saved page has recorded.

const OFFLINE =
  "This study is saved without its library: undo and redo step through it. " +
  "graphs.page(model) asks more.";

// The address is #TOKEN or #TOKEN/STATE; only the token goes to the server, in a header.
export function serverHost() {
  const [token, link] = location.hash.slice(1).split("/");
  let latest = null;
  let timer = null;
  // To the browser a new address is a navigation: it comes after the picture, once for many clicks.
  const address = () => {
    clearTimeout(timer);
    timer = null;
    if (latest) history.replaceState(null, "", `#${token}/${latest}`);
    latest = null;
  };
  addEventListener("pagehide", address);
  return {
    link,
    async send(event) {
      const response = await fetch("/event", {
        method: "POST",
        headers: {"Content-Type": "application/json", "X-Graphs-Token": token},
        body: JSON.stringify(event),
      });
      if (!response.ok) return refusal(`${await response.text()} (${response.status})`);
      return response.json();
    },
    shown(reply) {
      latest = reply.link;
      timer ??= setTimeout(address, 250);
    },
  };
}

// Every view of a widget hears every reply; what another view has changed is asked for anew.
export function kernelHost(model) {
  const waiting = new Map();
  const asking = new Set(["open", "bars", "export"]);
  let number = 0;
  const receive = (message) => {
    const own = waiting.get(message.id);
    waiting.delete(message.id);
    if (own) own(message.reply);
    else if (!asking.has(String(message.id).split(" ")[0])) host.changed?.();
  };
  model.on("msg:custom", receive);
  const host = {
    send: (event) =>
      new Promise((resolve) => {
        number += 1;
        const id = `${event.type} ${Date.now()}-${number}-${Math.random()}`;
        waiting.set(id, resolve);
        model.send({id, event});
      }),
    shown() {},
    close: () => model.off("msg:custom", receive),
  };
  return host;
}

export function recordedHost(replies) {
  let step = replies.length - 1;
  return {
    async send({type}) {
      if (type === "undo") step = Math.max(0, step - 1);
      else if (type === "redo") step = Math.min(replies.length - 1, step + 1);
      else if (type !== "open" && type !== "bars") return refusal(OFFLINE);
      return {...replies[step], can: {undo: step > 0, redo: step < replies.length - 1}};
    },
    shown() {},
    recorded: true,
  };
}

export function refusal(message) {
  return {ok: false, error: {message}};
}
