extension ReportPage {
  /// What shows the numbers at a step, and the routing at any evaluation.
  static let script = #"""
    (() => {
    "use strict";
    const data = JSON.parse(document.getElementById("data").textContent);
    const $ = id => document.getElementById(id);
    document.documentElement.classList.add("js");
    const whole = value => Math.round(value).toLocaleString("en");
    const number = value => {
      if (value === null || Number.isNaN(value)) return "–";
      const size = Math.abs(value);
      const text = size >= 1000 ? whole(value) : size >= 1e-4 || !size
        ? String(Number(value.toPrecision(4))) : value.toExponential(1);
      return text.replace("-", "−");
    };

    // The last place in a sorted list whose number is at most `step`, or the next one if that is nearer.
    const nearest = (list, step) => {
      let low = 0, high = list.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (list[middle] <= step) low = middle; else high = middle - 1;
      }
      return low + 1 < list.length && list[low + 1] - step < step - list[low] ? low + 1 : low;
    };

    // Curves: all show the same step.
    const curves = new Map(data.charts.map(chart => [chart.id, chart.curves]));
    const figures = [...document.querySelectorAll(".chart")].map(figure => ({
      figure, id: figure.dataset.chart, plot: figure.querySelector(".plot"),
      cursor: figure.querySelector(".cursor"), output: figure.querySelector("output"),
    }));
    const reading = (id, step) => {
      if (id === "use") {
        const index = nearest(data.use.x, step);
        const shares = data.use.shares[index].map((share, column) => [share, data.names[column]]);
        const top = shares.sort((a, b) => b[0] - a[0]).slice(0, 5);
        return [data.use.x[index],
          top.map(([share, name]) => `${name} ${Math.round(share * 100)} %`).join(", ")];
      }
      const list = curves.get(id) || [];
      if (!list.length || !list[0].x.length) return [step, ""];
      const at = list[0].x[nearest(list[0].x, step)];
      const texts = list.map(curve => {
        const value = number(curve.y[nearest(curve.x, at)]);
        return list.length > 1 ? `${curve.name} ${value}` : value;
      });
      return [at, texts.join(", ")];
    };
    const show = step => figures.forEach(({figure, id, cursor, output}) => {
      const [at, text] = reading(id, step);
      figure.classList.add("at");
      cursor.hidden = false;
      cursor.style.left = `${at / data.last * 100}%`;
      output.textContent = `step ${whole(at)}: ${text}`;
    });
    const hide = () => figures.forEach(({figure, cursor}) => {
      figure.classList.remove("at");
      cursor.hidden = true;
    });
    figures.forEach(({plot}) => {
      plot.addEventListener("pointermove", event => {
        const box = plot.getBoundingClientRect();
        show(Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * data.last);
      });
      plot.addEventListener("pointerleave", hide);
    });

    // Routing: weights are two letters each, 0 to 4094 about 2047, 4095 where there is none.
    const maps = data.maps;
    if (!maps) return;
    const D = maps.domains.length, R = maps.rows.length, C = maps.width, shades = 12;
    const digits = new Int16Array(128);
    [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"]
      .forEach((letter, index) => { digits[letter.charCodeAt(0)] = index; });
    const known = new Map();
    const weights = index => {
      if (!known.has(index)) {
        const code = maps.weights[index], result = new Float32Array(D * R * C);
        for (let i = 0; i < result.length; i++) {
          const value = digits[code.charCodeAt(2 * i)] * 64 + digits[code.charCodeAt(2 * i + 1)];
          result[i] = value === 4095 ? NaN : (value - 2047) / 2047 * maps.largest;
        }
        known.set(index, result);
      }
      return known.get(index);
    };
    const shown = maps.steps.length > 1 ? [0, maps.steps.length - 1] : [0];
    const weight = (values, domain, row, column) => values[(domain * R + row) * C + column];
    const mean = (values, domain, column) => {
      let sum = 0, count = 0;
      for (let row = 0; row < R; row++) {
        const value = weight(values, domain, row, column);
        if (!Number.isNaN(value)) { sum += value; count++; }
      }
      return count ? sum / count : NaN;
    };
    const two = value => Number.isNaN(value) ? "–" : value.toFixed(2).replace("-", "−");
    const moment = index => maps.steps[index] ? `after step ${whole(maps.steps[index])}` : "before the first step";

    const tables = [...document.querySelectorAll(".mix")];
    const drawings = [...document.querySelectorAll(".map")].map(map => ({
      column: Number(map.dataset.column), sides: [...map.querySelectorAll(".pair>svg")],
    }));
    const heads = [...document.querySelectorAll(".map .pair>em:nth-of-type(2)")];
    const shade = value => Number.isNaN(value) ? 0
      : Math.round(Math.min(1, Math.abs(value) / maps.largest) * shades);
    const draw = index => {
      shown[1] = index;
      const values = weights(index);
      $("step").textContent = whole(maps.steps[index]);
      tables[1].caption.textContent = moment(index);
      [...tables[1].tBodies[0].rows].forEach((row, domain) => {
        [...row.cells].slice(1).forEach((cell, column) => {
          const value = mean(values, domain, column);
          cell.style.setProperty("--a", (Math.abs(value) / maps.largest || 0).toFixed(2));
          if (C <= 8) cell.textContent = two(value);
        });
      });
      drawings.forEach(({column, sides}, map) => {
        const paths = Array.from({length: shades}, () => "");
        for (let domain = 0; domain < D; domain++) {
          for (let row = 0; row < R; row++) {
            const level = shade(weight(values, domain, row, column));
            if (level) paths[level - 1] += `M${row} ${domain}h1v1h-1z`;
          }
        }
        heads[map].textContent = `step ${whole(maps.steps[index])}`;
        paths.forEach((path, level) => sides[1].children[level].setAttribute("d", path));
      });
    };
    const slider = $("moment");
    if (slider) {
      slider.addEventListener("input", () => draw(Number(slider.value)));
      // A page that was open before comes back with the slider where it was.
      if (Number(slider.value) !== shown[1]) draw(Number(slider.value));
    }

    // One weight, on both sides.
    const caption = $("cell");
    const tell = (domain, column, where, value) => {
      const texts = shown.map(index => `${two(value(weights(index)))} ${moment(index)}`);
      caption.textContent = `${data.names[column]}${where}, ${maps.domains[domain]}: `
        + texts.join(", ");
    };
    drawings.forEach(({column, sides}) => sides.forEach(side => {
      side.addEventListener("pointermove", event => {
        const box = side.getBoundingClientRect();
        const row = Math.min(R - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * R)));
        const domain = Math.min(D - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * D)));
        const place = /^\d+$/.test(maps.rows[row]) ? `layer ${maps.rows[row]}` : maps.rows[row];
        tell(domain, column, `, ${place}`, values => weight(values, domain, row, column));
      });
    }));
    tables.forEach(table => table.addEventListener("pointerover", event => {
      const cell = event.target.closest("tbody td");
      if (!cell) return;
      const column = cell.cellIndex - 1, domain = cell.parentElement.sectionRowIndex;
      tell(domain, column, "", values => mean(values, domain, column));
    }));
    })();

    """#
}
