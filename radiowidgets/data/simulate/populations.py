"""Counts, sizes and spectra of radio sources by class, in the manner of T-RECS."""

from dataclasses import dataclass

import numpy as np

STERADIAN = (180.0 / np.pi) ** 2  # square degrees
REFERENCE = 1.4e9  # Hz, where the counts are given


@dataclass(frozen=True)
class Population:
    """One class of sources: differential counts at 1.4 GHz as two smooth breaks between three power laws.

    n(S) = 10^log_n (S/s1)^-a0 [1 + (S/s1)^2]^((a0-a1)/2) [1 + (S/s2)^2]^((a1-a2)/2) in sources/Jy/sr, with
    s1 = 10^log_s1 and s2 = 10^log_s2 Jy.

    The parameters were fitted here. Below 0.1 mJy to the counts by class of the T-RECS sky (Bonaldi et al. 2019, MNRAS
    482, 2), as convosource Table 2 lists them for SKA Data Challenge 1 at 12 flux limits and two frequencies (within
    18 %), and as its truth catalogue counts star-forming galaxies from 0.1 to 20 uJy (within 16 %). Above 1 mJy the sum
    of the classes follows the 1.4 GHz counts of Hopkins et al. (2003, AJ 125, 465, their polynomial) within 17 %; the
    share of flat spectra is 13 to 30 % there.

    Sizes are log-normal: median `size` arcsec at 1 mJy, growing as S^size_slope, with `size_scatter` in dex. Spectral
    indices are normal with mean `alpha` and scatter `alpha_scatter`.
    """

    name: str
    log_n: float
    log_s1: float
    a0: float
    a1: float
    log_s2: float
    a2: float
    alpha: float
    alpha_scatter: float
    size: float
    size_slope: float
    size_scatter: float

    def density(self, flux: np.ndarray) -> np.ndarray:
        """Differential counts in sources per Jy and sr at 1.4 GHz; flux in Jy."""
        t1, t2 = flux / 10**self.log_s1, flux / 10**self.log_s2
        return (
            10**self.log_n
            * t1**-self.a0
            * (1 + t1**2) ** ((self.a0 - self.a1) / 2)
            * (1 + t2**2) ** ((self.a1 - self.a2) / 2)
        )

    def above(self, flux: float | np.ndarray, frequency: float = REFERENCE) -> np.ndarray:
        """Sources per square degree brighter than `flux` (Jy) at `frequency` (Hz), for the mean spectral index."""
        grid, cumulative = self._cumulative()
        at_reference = np.asarray(flux) * (REFERENCE / frequency) ** self.alpha
        return np.exp(np.interp(np.log(at_reference), np.log(grid), np.log(cumulative))) / STERADIAN

    def _cumulative(self) -> tuple[np.ndarray, np.ndarray]:
        grid = np.logspace(-9, 2, 2201)
        integrand = self.density(grid) * grid
        steps = 0.5 * (integrand[1:] + integrand[:-1]) * np.diff(np.log(grid))
        return grid, np.append(np.cumsum(steps[::-1])[::-1], 1e-12)

    def draw(
        self, rng: np.random.Generator, area: float, limit: float, frequency: float
    ) -> dict[str, np.ndarray]:
        """Sources of `area` square degrees brighter than `limit` Jy at `frequency`: flux (there), alpha, size."""
        # Sources with an unusual spectrum reach the limit from below it at 1.4 GHz.
        deepest = limit * (REFERENCE / frequency) ** self.alpha * 0.6
        grid, cumulative = self._cumulative()
        total = float(self.above(deepest)) * area
        n = int(rng.poisson(total))
        rank = rng.random(n) * total / area * STERADIAN
        flux = np.exp(np.interp(np.log(rank), np.log(cumulative[::-1]), np.log(grid[::-1])))
        alpha = rng.normal(self.alpha, self.alpha_scatter, n)
        size = self.size * (flux / 1e-3) ** self.size_slope * 10 ** rng.normal(0.0, self.size_scatter, n)
        flux = flux * (frequency / REFERENCE) ** alpha
        keep = flux > limit
        return {"flux": flux[keep], "alpha": alpha[keep], "size": size[keep]}


#: Sizes: half-light diameters of discs for SFG, largest angular sizes for AGN (T-RECS as distributed with SDC1).
POPULATIONS: dict[str, Population] = {
    "SFG": Population("SFG", 9.12, -2.592, 1.541, 2.068, -4.557, 3.547, -0.75, 0.15, 14.0, 0.55, 0.26),
    "SS-AGN": Population("SS-AGN", 10.808, -4.879, 1.537, 1.463, -1.421, 2.232, -0.8, 0.2, 12.0, 0.05, 0.42),
    "FS-AGN": Population("FS-AGN", 8.727, -3.853, 1.858, -0.114, -3.496, 1.907, -0.1, 0.2, 0.1, 0.2, 0.4),
}
