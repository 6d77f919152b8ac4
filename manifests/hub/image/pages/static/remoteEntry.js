// In a browser that is not on the notebooks' machine, 127.0.0.1:8080 is the reader's own. jupyter-server-proxy has the
// notebooks' one at proxy/8080, so a click on such a link goes there. JupyterLab loads this as it is: nothing is built.
(() => {
  const there = /^https?:\/\/(?:127\.0\.0\.1|localhost):8080(\/.*)?$/;
  const plugin = {
    id: 'istio-lab-pages:links',
    autoStart: true,
    activate: () => {
      const base = JSON.parse(document.getElementById('jupyter-config-data').textContent).baseUrl;
      const lead = event => {
        const link = event.target.closest?.('a[href]');
        const found = link && there.exec(link.href);
        if (!found) return;
        event.preventDefault();
        event.stopPropagation();
        window.open(`${base}proxy/8080${found[1] ?? '/'}`, '_blank', 'noopener');
      };
      document.addEventListener('click', lead, true);
      document.addEventListener('auxclick', lead, true);
    }
  };
  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB['istio-lab-pages'] = {
    init: async () => {},
    get: async () => () => ({ __esModule: true, default: plugin })
  };
})();
