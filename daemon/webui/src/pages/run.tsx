import {Loading} from "../ui/basics.tsx";
export function Run({parts}: {parts: string[]}) { return <Loading what={"Run " + parts[0]} />; }
