// chart.tsx - a chart of series over time. The library that draws is loaded when the first one is wanted: most pages have none. Its place is kept meanwhile.
import type {ComponentType} from "preact";
import {useEffect, useState} from "preact/hooks";

export interface Series { label: string; values: (number | null)[]; color?: string; axis?: "y" | "y2"; show?: (v: number) => string; dash?: boolean; fill?: boolean }
/** `x`: seconds since 1970, ascending. */
export interface ChartProps { x: number[]; series: Series[]; height?: number; title: string; unit?: (v: number) => string; bars?: boolean; log?: boolean; click?: (index: number) => void; /** of the y axis */ label?: string; /** x are days, in UTC */ days?: boolean }

let plot: ComponentType<ChartProps> | undefined;
export function Chart(props: ChartProps) {
    const [Plot, setPlot] = useState(() => plot), [missing, setMissing] = useState(false);
    useEffect(() => {
        if (!Plot)
            void import("./plot.tsx").then((m) => { plot = m.Plot; setPlot(() => m.Plot); }, () => setMissing(true));
    }, []);
    return Plot ? <Plot {...props} /> : <div class="chart" style={{minHeight: `${(props.height ?? 200) + 28}px`}} aria-busy={!missing}>{missing && <p class="dim">The chart could not be loaded; load the page anew.</p>}</div>;
}
