export { Belief, openly } from "./Belief";
export { EpisodeView, Overview } from "./EpisodeView";
export { FilmStrip } from "./FilmStrip";
export { Legend, type Line, Lines } from "./Lines";
export { Paths } from "./Paths";
export { columns, type DrawnEpisode, isPictures, type Numbers, type Part, stepsOf, totalReward, vectors } from "./episode";
export { colour, N_SERIES, onSchemeChange, series } from "./palette";
