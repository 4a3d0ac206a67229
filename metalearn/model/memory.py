"""What an episode has told so far: a learnt summary of each of its steps, added up.

So that an attempt can use what it finds out before it ends, such as which way a motor turns. Pure torch; knows
neither hypotheses nor how actions are chosen.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from metalearn.data.units import EPSILON
from metalearn.model.observations import ObservationEncoder

WIDTH = 64
CLIP = 5.0
USUALLY_MOVED = 0.1  # of what encoders make of pictures, whose numbers vary by about one
HALF_KNOWN = 4.0  # steps after which a memory counts half as much as after infinitely many


class EpisodeMemory(nn.Module):
    """The mean of f(observation, change, action) over the steps so far: Deep Sets (Zaheer et al., 2017) over steps.

    What an action did is a product of it and of what changed (multiplicative interactions: Jayakumar et al., 2020):
    which way a motor turns is its sign. Sums travel at the end of a conditioning, so that acting adds one step at a
    time and forgets the observations. Changes are in units of how much observations usually change in one step, which
    `fit` finds. Where there are pictures, how what the encoder makes of an observation changes is read as well.

    Args:
        size: of a summary.
        observations: what reads them.
        plain: the places of numbers that are no pixels.
        pictures: whether there are pixels.
        action_size: numbers of an encoded action.
    """

    def __init__(
        self, size: int, observations: ObservationEncoder, plain: Int[Tensor, " c"], *, pictures: bool, action_size: int
    ) -> None:
        super().__init__()
        self.size, self.pictures = size, pictures
        n_changing = len(plain)
        n_seen = (1 + pictures) * observations.size + n_changing
        self.whole = nn.Linear(n_seen + action_size, WIDTH)
        self.changed, self.done = nn.Linear(n_seen, WIDTH), nn.Linear(action_size, WIDTH)
        self.summary = nn.Linear(2 * WIDTH, size)
        self.register_buffer("usual_change", torch.ones(n_changing))
        self.register_buffer("plain", plain, persistent=False)

    @property
    def n_sums(self) -> int:
        """Numbers in the sums: those of the summaries, and the number of steps."""
        return self.size + 1

    def fit(self, changes: Float[Tensor, "n c"]) -> None:
        """Take the unit of changes of what is no picture from training episodes; what never changes says nothing."""
        usual = changes.double().square().mean(0).sqrt()
        largest = changes.abs().amax(0)
        never = usual <= EPSILON * largest.clamp(min=torch.finfo(torch.float32).tiny)
        self.get_buffer("usual_change").copy_(usual.masked_fill(never, torch.finfo(torch.float32).max))

    def forward(
        self,
        encoder: ObservationEncoder,
        observations: Float[Tensor, "*n o"],
        changes: Float[Tensor, "*n o"],
        actions: Float[Tensor, "*n a"],
    ) -> Float[Tensor, "*n s"]:
        """What each step adds to the sums. What reads observations is learnt by acting, not by remembering."""
        with torch.no_grad():
            seen = encoder(observations)
            then = encoder(observations + changes) if self.pictures else seen
        usual = (changes[..., self.get_buffer("plain")] / self.get_buffer("usual_change")).clamp(-CLIP, CLIP)
        parts = [seen, usual]
        if self.pictures:
            parts.append(((then - seen) / USUALLY_MOVED).clamp(-CLIP, CLIP))
        changed = torch.cat(parts, -1)
        whole = self.whole(torch.cat([changed, actions], -1)).relu()
        summaries = self.summary(torch.cat([whole, self.changed(changed) * self.done(actions)], -1)).tanh()
        counted: Tensor = functional.pad(summaries, (0, 1), value=1.0)  # ones of a shape would be constants of a graph
        return counted

    def recall(self, sums: Float[Tensor, "*n s"]) -> Float[Tensor, "*n s"]:
        """The mean summary, and how much is known, 0 .. 1; zeros before the first step."""
        added, count = sums.split([self.size, 1], -1)
        return torch.cat([added / count.clamp(min=1), count / (count + HALF_KNOWN)], -1)
