// theme.ts - before anything is drawn: the person's choice of light or dark, else what the system asks for (style.css).
try {
    const chosen = localStorage.getItem("portolan-theme");
    if (chosen === "light" || chosen === "dark")
        document.documentElement.dataset.theme = chosen;
} catch {
    // storage is closed to this page: the system's choice stands
}
