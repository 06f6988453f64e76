"""What is learnt from of a zoo: its true trees, their skeletons, groups of siblings and stages, each looked at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks import learn_absent, learn_stage
from benchmarks.learn_adjacency import Seen, copies_found, signs
from benchmarks.recovery_zoos import Family, Zoo, measured
from benchmarks.true_trees import Scores, TrueTree, true_trees
from lineage.direction import edge_scores
from lineage.skeleton import Skeleton, skeleton


@dataclass(frozen=True)
class LearningZoo:
    """A zoo whose measures are kept in `cache`."""

    zoo: Zoo
    cache: Path = field(repr=False)

    @property
    def name(self) -> str:
        """Its folder's name, by which weights say what they come from."""
        return self.zoo.folder.name

    @cached_property
    def families(self) -> list[Family]:
        """Its measures."""
        return measured(self.zoo, self.cache)

    @cached_property
    def trees(self) -> list[TrueTree]:
        """Its true trees."""
        return true_trees(self.zoo.models, self.families)

    @cached_property
    def skeletons(self) -> list[tuple[TrueTree, Skeleton]]:
        """Its true trees of three members and more, each with the skeleton that is inferred of it.

        Where two are all there is, nothing competes. The detector is not asked about siblings: it may have learnt from
        the same zoo.
        """
        some = [tree for tree in self.trees if len(tree.members) > 2]
        return [(tree, skeleton(tree.measures, sorted(tree.members))) for tree in some]

    @cached_property
    def edges(self) -> Seen:
        """What is seen of the skeletons' edges, and whether they are true."""
        return [one for pair in self.skeletons for one in signs(*pair)]

    @cached_property
    def scores(self) -> list[Scores]:
        """The scores of each skeleton's edges."""
        return [edge_scores(tree.measures, one.sources, one.core, one.stand_in) for tree, one in self.skeletons]

    @cached_property
    def copies(self) -> tuple[int, int]:
        """How many copies are given to whom they were made from, and how many all are."""
        return copies_found(self.zoo.models, self.families)

    @cached_property
    def groups(self) -> learn_absent.Seen:
        """Groups of siblings, of every tree once with its root and once without."""
        return learn_absent.groups(self.zoo.models, self.families)

    @cached_property
    def groups_as_they_are(self) -> learn_absent.Seen:
        """Groups of siblings, of the zoo as it is."""
        return learn_absent.groups(self.zoo.models, self.families, as_is=True)

    @cached_property
    def staged(self) -> learn_stage.Staged:
        """What is seen of the stages of its true edges."""
        return learn_stage.staged(self.zoo.models, self.families)
