// Stands for a framework's own component that a package imports and no upload needs.
export default () => null;
