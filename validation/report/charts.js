(function () {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function theme() {
    const ink = dark.matches ? "#d8dee6" : "#1f2733";
    const faint = dark.matches ? "#333d4a" : "#dfe4ea";
    return {
      background: "transparent",
      view: { stroke: "transparent" },
      axis: { labelColor: ink, titleColor: ink, gridColor: faint, domainColor: faint, tickColor: faint },
      legend: { labelColor: ink, titleColor: ink },
      header: { labelColor: ink, titleColor: ink },
      title: { color: ink, subtitleColor: ink },
      rule: { color: ink },
    };
  }
  function draw() {
    document.querySelectorAll("script[data-chart]").forEach(function (holder) {
      const target = document.getElementById(holder.dataset.chart);
      const options = {
        renderer: "svg",
        ast: true,
        config: theme(),
        actions: { export: true, source: false, compiled: false, editor: false },
      };
      window.vegaEmbed(target, JSON.parse(holder.textContent), options).catch(function (error) {
        target.textContent = "This chart could not be drawn: " + error.message;
      });
    });
  }
  draw();
  dark.addEventListener("change", draw);
})();
