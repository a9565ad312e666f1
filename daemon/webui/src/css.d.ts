declare module "*.css";
interface Window { portolanEarly?: Map<string, Promise<Response>> }
