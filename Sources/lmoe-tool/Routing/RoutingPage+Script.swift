extension RoutingPage {
  /// What shows single tokens and single experts.
  static let script = #"""
    (() => {
    "use strict";
    const data = JSON.parse(document.getElementById("data").textContent);
    const $ = id => document.getElementById(id);
    const C = data.names.length, P = data.places.length, N = data.tokens.length;
    const spans = [...document.querySelectorAll("#tokens>span")].slice(0, N);
    const panel = $("panel"), ribbon = $("ribbon"), cursor = $("cursor");
    if (!panel || !N) return;

    // Weights: two letters each, 0 to 4094 about 2047, 4095 where there is none.
    const digits = new Int16Array(128);
    [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"]
      .forEach((letter, index) => { digits[letter.charCodeAt(0)] = index; });
    const text = index => {
      const token = data.tokens[index];
      return typeof token === "number" ? data.tokens[token] : token;
    };
    const weights = index => {
      const code = text(index);
      if (!code) return null;
      const result = new Float32Array(P * C);
      for (let i = 0; i < P * C; i++) {
        const value = digits[code.charCodeAt(2 * i)] * 64 + digits[code.charCodeAt(2 * i + 1)];
        result[i] = value === 4095 ? NaN : (value - 2047) / 2047 * data.largest;
      }
      return result;
    };
    const means = values => Array.from({length: C}, (_, column) => {
      let sum = 0, count = 0;
      for (let place = 0; place < P; place++) {
        const value = values[place * C + column];
        if (!Number.isNaN(value)) { sum += value; count++; }
      }
      return count ? sum / count : 0;
    });
    const number = value => value.toFixed(2).replace("-", "−").replace(/^−(0\.00)$/, "$1");

    // The panel as it came: the means of all tokens.
    const bars = [...panel.querySelectorAll(".bar>i")], ticks = [...panel.querySelectorAll(".bar>s")];
    const outputs = [...panel.querySelectorAll("output")];
    const heats = [...panel.querySelectorAll(".heat")];
    const cells = heats.map(heat => [...heat.children]);
    const caption = $("cell"), captionText = caption ? caption.textContent : "";
    const signed = panel.classList.contains("signed");
    const keep = element => ({style: element.getAttribute("style"), name: element.className});
    const restore = (element, kept) => {
      element.setAttribute("style", kept.style || "");
      element.className = kept.name;
    };
    const kept = {
      bars: bars.map(keep), outputs: outputs.map(output => output.textContent),
      cells: cells.map(list => list.map(keep)), labels: heats.map(heat => heat.getAttribute("aria-label")),
      what: $("what").textContent, where: $("where").textContent,
    };
    bars.forEach((bar, column) => {
      const length = parseFloat(bar.style.getPropertyValue("--w")) || 0;
      const side = bar.classList.contains("n") ? -1 : 1;
      ticks[column].style.left = (signed ? 50 + side * length * 50 : length * 100) + "%";
    });

    let shown = -1, current = -1, lit = -1, values = null;
    const set = (element, key, value, negative) => {
      element.style.setProperty(key, Math.min(1, Math.abs(value)).toFixed(3));
      element.classList.toggle("n", negative);
    };
    const showAll = () => {
      bars.forEach((bar, column) => restore(bar, kept.bars[column]));
      outputs.forEach((output, column) => { output.textContent = kept.outputs[column]; });
      cells.forEach((list, column) => list.forEach((cell, i) => restore(cell, kept.cells[column][i])));
      heats.forEach((heat, column) => heat.setAttribute("aria-label", kept.labels[column]));
      ticks.forEach(tick => { tick.style.display = "none"; });
      $("what").textContent = kept.what;
      $("where").textContent = kept.where;
    };
    const strongest = list => {
      const order = list.map((_, column) => column).sort((a, b) => Math.abs(list[b]) - Math.abs(list[a]));
      const tie = C > 1 && Math.abs(list[order[1]]) > Math.abs(list[order[0]]) * 0.9999;
      return tie || !list[order[0]] ? -1 : order[0];
    };
    const label = index => {
      const copy = spans[index].cloneNode(true);
      copy.querySelectorAll(".nl").forEach(mark => { mark.textContent = "↵"; });
      copy.querySelectorAll(".tab").forEach(mark => { mark.textContent = "⇥"; });
      return copy.textContent.replace(/↵\n/g, "↵").replace(/⇥\t/g, "⇥").replace(/ /g, "␣") || "·";
    };
    const show = index => {
      if (index === shown) return;
      if (shown >= 0) spans[shown].classList.remove("at");
      shown = index;
      cursor.hidden = index < 0;
      if (index < 0) { values = null; showAll(); return; }
      spans[index].classList.add("at");
      cursor.style.left = 100 * index / N + "%";
      cursor.style.width = 100 / N + "%";
      const code = document.createElement("code");
      code.textContent = label(index);
      $("what").replaceChildren(code);
      values = weights(index);
      const list = values ? means(values) : new Array(C).fill(0);
      const top = strongest(list);
      $("where").textContent = `token ${index + 1} of ${N}, ${index < data.prompt ? "prompt" : "generated"}`
        + (values ? top < 0 ? ", undecided" : `, ${data.names[top]} ${number(list[top])}` : ", not read any more");
      bars.forEach((bar, column) => set(bar, "--w", list[column] / data.full, list[column] < 0));
      ticks.forEach(tick => { tick.style.display = "block"; });
      outputs.forEach((output, column) => { output.textContent = values ? number(list[column]) : "–"; });
      cells.forEach((row, column) => row.forEach((cell, i) => {
        const value = values && data.cells[i] >= 0 ? values[data.cells[i] * C + column] : 0;
        set(cell, "--a", (value || 0) / data.largest, value < 0);
      }));
      heats.forEach((heat, column) => heat.setAttribute("aria-label",
        `Weights of ${data.names[column]} for this token by layer, mean ${number(list[column])}`));
    };

    // Tokens: hover shows, click or keys hold.
    const hold = (index, focus) => {
      if (current >= 0) {
        spans[current].tabIndex = -1;
        spans[current].removeAttribute("role");
        spans[current].removeAttribute("aria-label");
      }
      current = index;
      document.body.classList.toggle("open", index >= 0);
      const first = Math.max(0, index);
      spans[first].tabIndex = 0;
      show(index);
      if (index < 0) return;
      spans[index].setAttribute("role", "button");
      spans[index].setAttribute("aria-label", `${$("what").textContent}: ${$("where").textContent}`);
      if (focus) spans[index].focus({preventScroll: true});
      spans[index].scrollIntoView({block: "nearest", inline: "nearest"});
    };
    spans.forEach((span, index) => { span.dataset.i = index; span.tabIndex = index ? -1 : 0; });
    const at = event => {
      const span = event.target.closest("#tokens>span");
      return span && span.dataset.i !== undefined ? Number(span.dataset.i) : -1;
    };
    const tokens = $("tokens");
    tokens.addEventListener("pointerover", event => {
      if (event.pointerType === "mouse" && at(event) >= 0) show(at(event));
    });
    tokens.addEventListener("pointerleave", () => show(current));
    tokens.addEventListener("click", event => {
      const index = at(event);
      if (index >= 0 && String(getSelection())) return;
      hold(index === current ? -1 : index, true);
    });
    tokens.addEventListener("focusin", event => {
      if (at(event) >= 0 && at(event) !== current && event.target.matches(":focus-visible")) hold(at(event));
    });
    const beside = (index, side) => {
      const from = spans[index].getBoundingClientRect();
      let best = index, distance = Infinity, line = null;
      for (let i = index + side; i >= 0 && i < N; i += side) {
        const box = spans[i].getClientRects()[0] || spans[i].getBoundingClientRect();
        if (Math.abs(box.top - from.top) < 4) continue;
        if (line !== null && Math.abs(box.top - line) > 4) break;
        line = box.top;
        if (Math.abs(box.left - from.left) < distance) { distance = Math.abs(box.left - from.left); best = i; }
      }
      return best;
    };
    tokens.addEventListener("keydown", event => {
      const index = Math.max(0, current);
      const next = {
        ArrowRight: () => Math.min(N - 1, index + 1), ArrowLeft: () => Math.max(0, index - 1),
        ArrowDown: () => beside(index, 1), ArrowUp: () => beside(index, -1), Home: () => 0, End: () => N - 1,
      }[event.key];
      if (!next || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      hold(next(), true);
    });
    document.addEventListener("keydown", event => {
      if (event.key !== "Escape") return;
      if (current >= 0) hold(-1); else light(-1);
    });
    $("close").addEventListener("click", () => hold(-1));

    // The ribbon.
    const place = event => {
      const box = ribbon.getBoundingClientRect();
      return Math.max(0, Math.min(N - 1, Math.floor((event.clientX - box.left) / box.width * N)));
    };
    ribbon.addEventListener("pointermove", event => { if (event.pointerType === "mouse") show(place(event)); });
    ribbon.addEventListener("pointerleave", () => show(current));
    ribbon.addEventListener("click", event => hold(place(event), true));

    // The legend: the text in the colour of one expert alone, by its share.
    const buttons = [...document.querySelectorAll(".legend button")];
    const plain = spans.map(keep);
    const light = column => {
      lit = column;
      document.body.classList.toggle("lit", column >= 0);
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === column)));
      spans.forEach((span, index) => {
        const held = span.classList.contains("at");
        restore(span, plain[index]);
        span.classList.toggle("at", held);
        if (column < 0) return;
        span.className = span.className.replace(/\bk\d+\b|\bn\b/g, "").trim();
        span.style.setProperty("--a", "0");
        const values = weights(index);
        const list = values ? means(values) : [];
        const sum = list.reduce((total, value) => total + Math.abs(value), 0);
        if (!sum || !list[column]) return;
        const share = Math.abs(list[column]) / sum;
        if (share < 0.02) return;
        span.classList.add("k" + column);
        span.classList.toggle("n", list[column] < 0);
        span.style.setProperty("--a", share.toFixed(2));
      });
    };
    buttons.forEach((button, column) => button.addEventListener("click", () => {
      light(lit === column ? -1 : column);
    }));

    // One cell of the map.
    panel.addEventListener("pointerover", event => {
      if (!caption) return;
      const column = heats.indexOf(event.target.parentElement);
      const cell = column < 0 ? -1 : cells[column].indexOf(event.target);
      const place = cell < 0 ? -1 : data.cells[cell];
      if (place < 0) { caption.textContent = captionText; return; }
      const value = values ? number(values[place * C + column])
        : number((event.target.classList.contains("n") ? -1 : 1)
          * parseFloat(event.target.style.getPropertyValue("--a") || 0) * data.largest);
      caption.textContent = `${data.names[column]} at ${data.places[place]}: ${value}`;
    });
    panel.addEventListener("pointerleave", () => { if (caption) caption.textContent = captionText; });
    })();

    """#
}
