"""The training loop: steps, scores and checkpoints. It knows no method by name."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.terminal import on_termination
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.models.package import read_package
from HipICMSCLib.networks.devices import choose_device

from HipICMSCTrainingLib.data.dataset import Case
from HipICMSCTrainingLib.data.dataset_problems import check_labels
from HipICMSCTrainingLib.data.distribution import Distribution, alone
from HipICMSCTrainingLib.data.slab_cache import padded_size
from HipICMSCTrainingLib.data.training_data import TrainingData, training_data
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.methods.registry import find_method
from HipICMSCTrainingLib.networks.weight_average import WeightAverage
from HipICMSCTrainingLib.run.checkpoint_state import check_optimizer, check_progress
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.ending import in_one_sentence
from HipICMSCTrainingLib.run.files import damaged_checkpoint
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.lessons import read_lessons, write_own_lessons
from HipICMSCTrainingLib.run.moved_data import record_images
from HipICMSCTrainingLib.run.processor import making_threads, networks_beside
from HipICMSCTrainingLib.run.schedule import Schedule
from HipICMSCTrainingLib.run.selection import Selection
from HipICMSCTrainingLib.run.starting_weights import load_starting_weights, mixed
from HipICMSCTrainingLib.run.status import State, Status
from HipICMSCTrainingLib.run.watchers import Pace, Report, Watchers
from HipICMSCTrainingLib.settings.stages import SELF_TRAINING, STAGES

#: Losses are averaged over this many steps before they are written.
METRICS_EVERY = 20


class _StopRequested(Exception):
    """Within a step that takes long."""


class Trainer:
    """Trains one run, from its start or from its last checkpoint, to its end or to a request to stop."""

    def __init__(self, folder: RunFolder, report: Report = lambda status: None) -> None:
        self.folder = folder
        self.run = RunDescription.read(folder)
        self.settings = self.run.settings
        self.pace = Pace()
        self._saved_at = 0.0
        self._saved_step: int | None = None
        #: Of the steps since metrics were written; an interruption must not change what their mean is taken over.
        self._losses: list[dict[str, float]] = []
        #: Whether the networks were made those that self-training begins with.
        self._self_training_begun = False
        self.distribution = Distribution()
        self.watchers = Watchers(folder, self.pace, report, self.distribution.is_main)
        self.data: TrainingData | None = None
        self._begun = self._prepared = False

    def train(self) -> Status:
        """Returns the last status: finished, or paused after a stop.

        Raises:
            HipError: ``run_in_use`` without touching the run; anything else after the run's status says ``failed``.
        """
        try:
            with on_termination(self._terminate):
                if not self.distribution.is_main:
                    with self.distribution.needing_all():
                        return self._train()
                with self.folder.locked():
                    return self._train_and_say_so()
        finally:
            self.close()

    def _terminate(self) -> None:
        """A scheduler's time limit, of which torchrun tells every process: while volumes are read the training ends at
        once, as by Ctrl-C, and from the first step on after the step at hand, which is saved."""
        self.watchers.terminated = True
        if self._begun and not self._prepared:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Leave nothing of the training behind in this process."""
        if self.data is not None:
            self.data.batches.close()
        self.distribution.close()
        # Both concern the whole process: with denormals flushed, scipy's k-d tree crashes.
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(False)

    def _train_and_say_so(self) -> Status:
        try:
            with self.distribution.needing_all():
                return self._train()
        except KeyboardInterrupt:
            self._say_last("paused", "Interrupted; resume continues from the last checkpoint.")
            raise
        except BaseException as error:
            told = in_one_sentence(error, self.folder.log)
            if told is None:
                self._say_last("failed", f"{type(error).__name__}: {error}{self._what_is_kept()}")
                raise
            told = HipError(told.kind, told.sentence + self._what_is_kept(), told.detail)
            self._say_last("failed", told.sentence, told.kind)
            raise told from error

    def _what_is_kept(self) -> str:
        """To be added to the sentence that says why the training ended."""
        if self._saved_step is None:
            return ""
        return f" The checkpoint of step {self._saved_step} is kept; resume starts there."

    def _say_last(self, state: State, sentence: str, kind: str = "") -> None:
        # What ended the training matters more than that nobody can be told.
        with contextlib.suppress(HipError, OSError):
            self.watchers.say(state, "stopped", sentence, kind)

    def _train(self) -> Status:
        self._begun = True
        if self.watchers.terminated:  # while the run was being locked, when it could not be said yet
            raise KeyboardInterrupt
        self.prepare()
        self._prepared = True
        self.watchers.say("running", self._phase(), "")
        pace, distribution = self.pace, self.distribution
        while pace.step < pace.total_steps:
            if distribution.agree(distribution.is_main and self.watchers.ask_to_stop(self._phase(), self.save)):
                return self._stopped()
            moment = self._moment()
            try:
                losses = self.do_step()
            except _StopRequested:
                return self._stopped()
            if not distribution.is_main:
                continue
            self._losses.append(losses)
            is_last = pace.step == pace.total_steps
            if pace.step % METRICS_EVERY == 0 or is_last:
                self._write_losses(moment.stage)
            if pace.step % self.schedule.steps_per_epoch == 0 or is_last:
                self.score(moment)
                self.save()
            elif time.monotonic() - self._saved_at > 60 * self.settings.checkpoint_minutes:
                self.save()
            self.watchers.say_now_and_then("running", self._phase())
        return self.watchers.say("finished", "finished", "Trained to the end.")

    def _stopped(self) -> Status:
        self.save()
        return self.watchers.say("paused", "stopped", "Stopped on request; resume continues here.")

    # Before the first step.

    def prepare(self) -> None:
        """Read the volumes, make the networks, and take up the last checkpoint if there is one."""
        settings = self.settings
        # Whoever edited run.json: no label of an MRI reaches a method that adapts, but for corrections.
        method = find_method(self.run.method)
        check_labels(self.run.dataset, method.reads_mr_labels)
        if self.run.dataset.corrected("train"):
            method.check_corrections(settings)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Gradients fade to numbers so small that a CPU computes them many times slower; they are zero for our purpose.
        torch.set_flush_denormal(True)
        torch.manual_seed(settings.seed)
        self.device = choose_device(settings.device)
        self._say_preparing("Reading and preprocessing the volumes.")
        # The first process fills the cache, the others read it.
        if not self.distribution.is_main:
            self.distribution.wait_for_first()
        self.data = training_data(
            self.run.dataset.in_training(),
            settings,
            self.folder.cache,
            self.distribution.rank,
            self.distribution.world_size,
            self._say_preparing,
            making_threads(self.device),
        )
        if self.distribution.is_main:
            record_images(self.folder, self.run.dataset.in_training())
            self.distribution.wait_for_first()
        state = self.folder.checkpoints.last()
        self.schedule = Schedule(settings.epochs, self._steps_per_epoch(state))
        self.pace.total_steps = self.schedule.total_steps
        self.method = find_method(self.run.method)(settings, self.run.method_settings, self.device, self.distribution)
        #: Of each network that is kept, as it was before corrected MRIs taught it; None where all is that was learned.
        self.start: dict[str, dict[str, torch.Tensor]] | None = None
        if state is None and settings.start_from is not None:
            self._start_from_package()
        self.average = WeightAverage(self._deployable(), settings.ema_decay)
        self.selection = Selection(
            self.folder,
            self.data,
            settings.validation_slices,
            bool(self.run.dataset.corrected("train")),
            self.device,
        )
        self._resume(state)
        self._saved_at = time.monotonic()

    def _steps_per_epoch(self, state: dict[str, Any] | None) -> int:
        """As where the run began, so that each step stays in its stage when it is resumed with other processes."""
        kept = None if state is None else state.get("steps_per_epoch")  # an older version kept none
        if kept is None:
            return self.data.batches.steps_per_epoch
        if type(kept) is not int or kept < 1:
            raise damaged_checkpoint(self.folder.checkpoints.last_file, f"{kept!r} steps in an epoch")
        return kept

    def _start_from_package(self) -> None:
        package = read_package(find_model(self.settings.start_from))
        if self.run.started_from is not None and package.sha256 != self.run.started_from.sha256:
            raise HipError(
                "changed_start",
                f"The model file {package.path} is not the one that this run was made with; put that one back, or "
                "start a new run.",
                f"SHA-256 {package.sha256} in place of {self.run.started_from.sha256}",
            )
        load_starting_weights(package, self.method.networks, self.method.starts_with)
        if self.run.dataset.corrected("train") and self.settings.corrections_towards_start:
            self.start = {name: copy.deepcopy(network.state_dict()) for name, network in self._deployable().items()}

    def _resume(self, state: dict[str, Any] | None) -> None:
        if state is not None:
            try:
                self._take(state)
            except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                raise damaged_checkpoint(self.folder.checkpoints.last_file, repr(error)) from error
        if self.distribution.is_main:
            self.folder.forget_metrics_after(-1 if state is None else self.pace.step)

    def _take(self, state: dict[str, Any]) -> None:
        check_progress(state, self.pace.total_steps, self.settings.image_shape)
        for name, network in self.method.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.method.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            check_optimizer(optimizer)
        for name, network in self.average.networks.items():
            network.load_state_dict(state["average"][name])
        self.method.load_extra_state(state["extra"])
        # A checkpoint of an older version has none of these.
        self.start = state.get("start")
        self._self_training_begun = state.get("self_training_begun") is True
        self._losses = [{name: float(value) for name, value in losses.items()} for losses in state.get("losses", [])]
        self._saved_step = state["step"]
        self.pace.step, self.selection.best_score = state["step"], state["best_score"]

    # Step by step.

    def do_step(self) -> dict[str, float]:
        """Train one step; the losses by name.

        Raises:
            HipError: ``not_finite_loss``.
        """
        moment = self._moment()
        if moment.stage == SELF_TRAINING and self.data.batches.lessons is None:
            self._prepare_self_training(moment)
        started = time.monotonic()
        random = np.random.default_rng([self.settings.seed, moment.step, self.distribution.rank, 1 << 21])
        with networks_beside(self.data.batches.busy_threads(moment.stage), self.device):
            batch = self.data.batches.draw(moment.step, moment.stage).to(self.device)
            losses = self.method.train_step(batch, moment, random)
        self.average.update(self._deployable(), moment.step)
        self.pace.step_done(time.monotonic() - started)
        self._refuse_non_finite(losses)
        return losses

    def _prepare_self_training(self, moment: Moment) -> None:
        """F_t begins as the best of all that were scored, which says of each MRI as a whole what is learned of it."""
        checkpoints, cases = self.folder.checkpoints, self.run.dataset.of("MR", "train")
        begins = moment.stage_fraction == 0 and not self._self_training_begun
        there_are_lessons = checkpoints.lessons_file.exists()
        # Nothing was scored before; weights that a process kept which was killed before its checkpoint may be of later.
        if self.distribution.is_main and (begins or not there_are_lessons) and self.selection.best_score == -math.inf:
            self.score(moment)
            self.save()
        may_go_on = there_are_lessons or not self.distribution.is_main or self._lessons_written(cases)
        if not self.distribution.agree(may_go_on):
            raise _StopRequested
        if begins:
            for name, weights in checkpoints.selected().items():
                self.method.networks[name].load_state_dict(weights)
            for optimizer in self.method.optimizers.values():
                optimizer.state.clear()  # Adam's moments are those of the weights that were left
            self.average = WeightAverage(self._deployable(), self.settings.ema_decay)
        volumes, slab = self.data.batches.volumes, self.settings.slab
        shapes = [(len(volume["slices"]), *padded_size(volume, slab)) for volume in volumes]
        self.data.batches.lessons = read_lessons(checkpoints.lessons_file, cases, shapes)
        self._self_training_begun = True
        if begins:
            self.save()  # other weights may be the best before the next checkpoint

    @alone()
    def _lessons_written(self, cases: Sequence[Case]) -> bool:
        """Read all MRIs, in the first of several processes; False where a stop was asked for meanwhile."""

        def say(sentence: str) -> None:
            self._say_preparing(sentence)
            if self.watchers.ask_to_stop("preparing", self.save):
                raise _StopRequested

        # The clean-up needs scipy's k-d tree.
        torch.set_flush_denormal(False)
        t1_weighted = self.run.method_settings.contrast_prior == "t1"
        try:
            write_own_lessons(self.folder, cases, self.settings, t1_weighted, say)
        except _StopRequested:
            return False
        finally:
            torch.set_flush_denormal(True)
        return True

    def _moment(self) -> Moment:
        return self.schedule.moment(self.pace.step)

    def _phase(self) -> str:
        return STAGES[self._moment().stage]

    def _say_preparing(self, sentence: str) -> None:
        self.watchers.say("running", "preparing", sentence)

    def _deployable(self) -> dict[str, torch.nn.Module]:
        return {name: self.method.networks[name] for name in self.method.deployable}

    def _write_losses(self, stage: int) -> None:
        gathered = self._losses
        means = {name: float(np.mean([g[name] for g in gathered if name in g])) for name in gathered[-1]}
        rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.method.optimizers.items()}
        self.folder.append_metrics(
            {
                "step": self.pace.step,
                "stage": stage,
                "losses": means,
                "learning_rates": rates,
                "seconds": self.pace.seconds_per_step,
            }
        )
        gathered.clear()

    def _refuse_non_finite(self, losses: dict[str, float]) -> None:
        """In every process, although it may be the loss of one alone."""
        names = list(losses)
        bad = next((place for place, name in enumerate(names) if not math.isfinite(losses[name])), -1)
        bad = self.distribution.highest(bad)
        if bad >= 0:
            raise self._not_finite(f"The loss {names[bad]} is no longer a number")

    def _refuse_non_finite_weights(self) -> None:
        """A step can spoil the weights although its own losses, computed before, are still numbers."""
        for name, network in self.method.networks.items():
            if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
                raise self._not_finite(f"The weights of {name} are no longer numbers")

    def _not_finite(self, what: str) -> HipError:
        return HipError(
            "not_finite_loss",
            f"{what} at step {self.pace.step}; duplicate the run with lower learning rates or, if precision is bf16, "
            "with fp32.",
        )

    @alone()
    def score(self, moment: Moment) -> None:
        """Score the weights as they are and their average, in the first of several processes; keep the better of all
        that were scored, or with corrected MRIs of these two.

        Args:
            moment: that of the last step.

        Raises:
            HipError: ``not_finite_loss``; as for any file.
        """
        self._refuse_non_finite_weights()
        candidates = {"last": self._deployable(), "average": self.average.networks}
        if self.start is not None:
            share = self.settings.corrections_towards_start
            candidates = {which: mixed(networks, self.start, share) for which, networks in candidates.items()}
        ways, may_be_chosen = self.method.ways(moment.stage), self.method.may_be_chosen(moment)
        self.selection.choose_from(candidates, ways, self.pace.step, moment.stage, may_be_chosen)
        for network in self._deployable().values():
            network.train()

    def save(self) -> None:
        """Write a checkpoint, in the first of several processes.

        Raises:
            HipError: ``not_finite_loss``, before a good checkpoint is replaced by a bad one; as for any file.
        """
        if not self.distribution.is_main:
            return
        self._refuse_non_finite_weights()
        self.folder.checkpoints.save(
            {
                "step": self.pace.step,
                "steps_per_epoch": self.schedule.steps_per_epoch,
                "best_score": self.selection.best_score,
                "networks": {name: network.state_dict() for name, network in self.method.networks.items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in self.method.optimizers.items()},
                "average": {name: network.state_dict() for name, network in self.average.networks.items()},
                "start": self.start,
                "self_training_begun": self._self_training_begun,
                "extra": self.method.extra_state(),
                "losses": self._losses,
            }
        )
        self._saved_at, self._saved_step = time.monotonic(), self.pace.step
