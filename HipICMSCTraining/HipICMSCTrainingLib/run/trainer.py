"""The training loop: steps, scores, checkpoints, pause and stop. It knows no method by name."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from HipICMSCLib.common.errors import HipError
from HipICMSCLib.common.terminal import on_termination
from HipICMSCLib.models.chosen import find_model
from HipICMSCLib.models.package import read_package
from HipICMSCLib.networks.devices import choose_device

from HipICMSCTrainingLib.data.dataset_problems import check_labels
from HipICMSCTrainingLib.data.distribution import Distribution, alone
from HipICMSCTrainingLib.data.training_data import TrainingData, training_data
from HipICMSCTrainingLib.methods.method import Moment
from HipICMSCTrainingLib.methods.registry import find_method
from HipICMSCTrainingLib.methods.ways import ready_to_use
from HipICMSCTrainingLib.networks.weight_average import WeightAverage
from HipICMSCTrainingLib.run.checkpoint_state import check_optimizer, check_progress
from HipICMSCTrainingLib.run.description import RunDescription
from HipICMSCTrainingLib.run.ending import in_one_sentence
from HipICMSCTrainingLib.run.files import damaged_checkpoint
from HipICMSCTrainingLib.run.folder import RunFolder
from HipICMSCTrainingLib.run.moved_data import record_images
from HipICMSCTrainingLib.run.plausible import read_plausible, write_plausible
from HipICMSCTrainingLib.run.previews import write_preview
from HipICMSCTrainingLib.run.schedule import Schedule
from HipICMSCTrainingLib.run.scores import label_free_scores
from HipICMSCTrainingLib.run.starting_weights import load_starting_weights, mixed
from HipICMSCTrainingLib.run.status import HEARTBEAT_SECONDS, Status, awake_seconds
from HipICMSCTrainingLib.settings.training import SELF_TRAINING, STAGES, TRANSLATION

#: Losses are averaged over this many steps before they are written.
METRICS_EVERY = 20

Report = Callable[[Status], None]


class Trainer:
    """Trains one run, from its start or from its last checkpoint, to its end or to a request to stop."""

    def __init__(self, folder: RunFolder, report: Report = lambda status: None) -> None:
        self.folder, self.report = folder, report
        self.run = RunDescription.read(folder)
        self.settings = self.run.settings
        self.step, self.total_steps = 0, 0
        self.seconds_per_step: float | None = None
        self._said_at = self._saved_at = 0.0
        self._saved_step: int | None = None
        #: Of the steps since metrics were written; an interruption must not change what their mean is taken over.
        self._losses: list[dict[str, float]] = []
        self.distribution = Distribution()
        self.data: TrainingData | None = None
        self._begun = self._prepared = self._terminated = False

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
        self._terminated = True
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

    def _say_last(self, state: str, sentence: str, kind: str = "") -> None:
        # What ended the training matters more than that nobody can be told.
        with contextlib.suppress(HipError, OSError):
            self._say(state, "stopped", sentence, kind)

    def _train(self) -> Status:
        self._begun = True
        if self._terminated:  # while the run was being locked, when it could not be said yet
            raise KeyboardInterrupt
        self.prepare()
        self._prepared = True
        self._say("running", STAGES[self._moment().stage], "")
        folder, distribution, gathered = self.folder, self.distribution, self._losses
        while self.step < self.total_steps:
            if distribution.agree(distribution.is_main and self._asked_to_stop()):
                self.save()
                return self._say("paused", "stopped", "Stopped on request; resume continues here.")
            stage = self._moment().stage
            losses = self.do_step()
            if not distribution.is_main:
                continue
            gathered.append(losses)
            if self.step % METRICS_EVERY == 0 or self.step == self.total_steps:
                means = {name: float(np.mean([g[name] for g in gathered if name in g])) for name in gathered[-1]}
                rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self.method.optimizers.items()}
                folder.append_metrics(
                    {
                        "step": self.step,
                        "stage": stage,
                        "losses": means,
                        "learning_rates": rates,
                        "seconds": self.seconds_per_step,
                    }
                )
                gathered.clear()
            if self.step % self.schedule.steps_per_epoch == 0 or self.step == self.total_steps:
                self.score(stage)
                self.save()
            elif time.monotonic() - self._saved_at > 60 * self.settings.checkpoint_minutes:
                self.save()
            if time.monotonic() - self._said_at > HEARTBEAT_SECONDS:
                self._say("running", STAGES[self._moment().stage], "")
        return self._say("finished", "finished", "Trained to the end.")

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
        self._say("running", "preparing", "Reading and preprocessing the volumes.")
        # The first process fills the cache, the others read it.
        if not self.distribution.is_main:
            self.distribution.wait_for_first()
        self.data = training_data(
            self.run.dataset.in_training(),
            settings,
            self.folder.cache,
            self.distribution.rank,
            self.distribution.world_size,
            lambda sentence: self._say("running", "preparing", sentence),
        )
        if self.distribution.is_main:
            record_images(self.folder, self.run.dataset.in_training())
            self.distribution.wait_for_first()
        state = self.folder.checkpoints.last()
        self.schedule = Schedule(settings.epochs, self._steps_per_epoch(state))
        self.total_steps = self.schedule.total_steps
        self.method = find_method(self.run.method)(settings, self.run.method_settings, self.device, self.distribution)
        #: Of each network that is kept, as it was before corrected MRIs taught it; None where all is that was learned.
        self.start: dict[str, dict[str, torch.Tensor]] | None = None
        if state is None and settings.start_from is not None:
            self._start_from_package()
        self.average = WeightAverage(self._deployable(), settings.ema_decay)
        self.best_score = -math.inf
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
            self.folder.forget_metrics_after(self.step)

    def _take(self, state: dict[str, Any]) -> None:
        check_progress(state, self.total_steps, self.settings.image_shape)
        for name, network in self.method.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.method.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            check_optimizer(optimizer)
        for name, network in self.average.networks.items():
            network.load_state_dict(state["average"][name])
        self.method.load_extra_state(state["extra"])
        # A checkpoint of an older version has neither of these.
        self.start = state.get("start")
        self._losses = [{name: float(value) for name, value in losses.items()} for losses in state.get("losses", [])]
        self._saved_step = state["step"]
        self.step, self.best_score = state["step"], state["best_score"]

    # Step by step.

    def do_step(self) -> dict[str, float]:
        """Train one step; the losses by name.

        Raises:
            HipError: ``not_finite_loss``.
        """
        moment = self._moment()
        if moment.stage == SELF_TRAINING and self.data.batches.plausible is None:
            self._prepare_self_training(moment)
        started = time.monotonic()
        random = np.random.default_rng([self.settings.seed, self.step, self.distribution.rank, 1 << 21])
        batch = self.data.batches.draw(self.step, moment.stage).to(self.device)
        losses = self.method.train_step(batch, moment, random)
        self.average.update(self._deployable(), self.step)
        self.step += 1
        self._keep_time(time.monotonic() - started)
        self._refuse_non_finite(losses)
        return losses

    def _prepare_self_training(self, moment: Moment) -> None:
        """Whoever learns from what it says itself begins as the best of all that were scored, and knows what of it is
        plausible."""
        checkpoints, cases = self.folder.checkpoints, self.run.dataset.of("MR", "train")
        begins = moment.stage_fraction == 0
        if self.distribution.is_main and (begins or not checkpoints.plausible_file.exists()):
            if checkpoints.selected() is None:  # nothing was trained before
                self.score(moment.stage)
            # The clean-up needs scipy's k-d tree.
            torch.set_flush_denormal(False)
            write_plausible(
                self.folder, cases, self.settings, lambda sentence: self._say("running", "preparing", sentence)
            )
            torch.set_flush_denormal(True)
        self.distribution.wait_for_first()
        if begins:
            for name, weights in checkpoints.selected().items():
                self.method.networks[name].load_state_dict(weights)
            self.average = WeightAverage(self._deployable(), self.settings.ema_decay)
        shapes = [volume["slices"].shape for volume in self.data.batches.volumes]
        self.data.batches.plausible = read_plausible(checkpoints.plausible_file, cases, shapes)

    def _moment(self) -> Moment:
        return self.schedule.moment(self.step)

    def _deployable(self) -> dict[str, torch.nn.Module]:
        return {name: self.method.networks[name] for name in self.method.deployable}

    def _keep_time(self, seconds: float) -> None:
        if self.seconds_per_step is None:
            self.seconds_per_step = seconds
        self.seconds_per_step += 0.05 * (seconds - self.seconds_per_step)

    def _refuse_non_finite(self, losses: dict[str, float]) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise self._not_finite(f"The loss {bad[0]} is no longer a number")

    def _refuse_non_finite_weights(self) -> None:
        """A step can spoil the weights although its own losses, computed before, are still numbers."""
        for name, network in self.method.networks.items():
            if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
                raise self._not_finite(f"The weights of {name} are no longer numbers")

    def _not_finite(self, what: str) -> HipError:
        return HipError(
            "not_finite_loss",
            f"{what} at step {self.step}; duplicate the run with lower learning rates or, if precision is bf16, with "
            "fp32.",
        )

    @alone()
    def score(self, stage: int) -> None:
        """Score the weights as they are and their average, in the first of several processes; keep the better of all
        that were scored, or with corrected MRIs of these two.

        Raises:
            HipError: ``not_finite_loss``; as for any file.
        """
        self._refuse_non_finite_weights()
        data = self.data
        x_t = data.mr_train.images(data.mr_train.evenly(self.settings.validation_slices))
        ways = self.method.ways(stage)
        if self.run.dataset.corrected("train"):
            # These scores know nothing of what was corrected, so they must not go back to weights before it.
            self.best_score = -math.inf
        candidates = {"last": self._deployable(), "average": self.average.networks}
        for which, networks in candidates.items():
            if self.start is not None:
                networks = mixed(networks, self.start, self.settings.corrections_towards_start)
            networks = ready_to_use(networks, ways, x_t, self.device)
            scores = label_free_scores(
                networks,
                ways,
                data.ct_val,
                data.mr_val,
                self.settings.validation_slices,
                self.device,
                data.simulated_val,
            )
            self.folder.append_metrics({"step": self.step, "stage": stage, "scores": scores, "weights": which})
            # By the end of stage 1 the segmenters have learned nothing that a score could tell.
            if stage != TRANSLATION and scores["selection"] > self.best_score:
                self.best_score = scores["selection"]
                self.folder.checkpoints.save_selected(networks, {"step": self.step, "weights": which, "scores": scores})
        picture = self.folder.previews / f"step_{self.step:07d}.png"
        write_preview(networks, ways, data.ct_val, data.mr_val, picture, self.device, data.corrected)
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
                "step": self.step,
                "steps_per_epoch": self.schedule.steps_per_epoch,
                "best_score": self.best_score,
                "networks": {name: network.state_dict() for name, network in self.method.networks.items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in self.method.optimizers.items()},
                "average": {name: network.state_dict() for name, network in self.average.networks.items()},
                "start": self.start,
                "extra": self.method.extra_state(),
                "losses": self._losses,
            }
        )
        self._saved_at, self._saved_step = time.monotonic(), self.step

    # Between this process and whoever watches.

    def _asked_to_stop(self) -> bool:
        """Wait as long as a pause is asked for; True if a stop is."""
        if self.folder.requested("PAUSE"):
            self.save()
            waiting = ("paused", "waiting", "Paused on request; the process waits.")
            self._say(*waiting)
            while self.folder.requested("PAUSE") and not (self._terminated or self.folder.requested("STOP")):
                if time.monotonic() - self._said_at > HEARTBEAT_SECONDS:
                    self._say(*waiting)
                time.sleep(0.2)
            self._say("running", STAGES[self._moment().stage], "")
        if self._terminated or self.folder.requested("STOP"):
            self.folder.withdraw("STOP")
            self.folder.withdraw("PAUSE")
            return True
        return False

    def _say(self, state: str, phase: str, sentence: str, kind: str = "") -> Status:
        left = None
        if self.seconds_per_step is not None and state == "running":
            left = self.seconds_per_step * (self.total_steps - self.step)
        status = Status(
            state, phase, sentence, self.step, self.total_steps, self.seconds_per_step, left, os.getpid(), time.time(),
            kind, platform.node(), awake_seconds(),
        )  # fmt: skip
        if self.distribution.is_main:
            write = self.folder.write_status if state == "running" else self.folder.write_last_status
            write(status)
            self.report(status)
        self._said_at = time.monotonic()
        return status
