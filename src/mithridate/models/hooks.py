"""Reading and replacing activations while texts go through a model, in one pass or in generation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mithridate.core.errors import AccessError
from mithridate.models.access import Parts, Writer, parts_of
from mithridate.models.captured import Captured
from mithridate.models.passes import Context, Pass, Positions, pass_of
from mithridate.models.sites import Site
from mithridate.models.tracing import first_tensor

Edit = Callable[[torch.Tensor, Context], torch.Tensor]
"""What `replace` puts in a place: from the activations, of shape (rows, columns, width), new ones of the same
shape, type and device. It must leave the tensor that it is given as it is."""

_Seen = Callable[[torch.Tensor, Pass], torch.Tensor | None]


@contextmanager
def capture(
    model: PreTrainedModel,
    sites: Iterable[Site],
    *,
    positions: Positions | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Iterator[Captured]:
    """Keep the activations at `sites` of the one batch of texts that goes through `model` in the block.

    Each is of shape (rows, columns, width): all columns of a pass, padding among them, and in a generation
    with a cache those of all its passes. With `positions`, of shape (rows, k) or (k,) and counted in each
    text from 0, only those of the prompt are kept, as (rows, k, width); -1 stands for none, and gives zeros.
    They are detached, and copied only where `positions`, `dtype` or `device` ask for it, or where the model
    would change them afterwards. What an inner `replace` makes of a site is not seen, that of an outer is.

    Raises AccessError for a site that the model does not have, a position that a text does not have, a second
    batch of texts, or rows that leave their batch; and at the end for sites that nothing passed. No hook is
    left behind, whatever happens in the block.
    """
    captured = Captured(positions, dtype, device)
    parts = parts_of(model)
    writers = {site: parts.writer(site) for site in sites}

    def keeping(site: Site, writer: Writer) -> _Seen:
        def keep(tensor: torch.Tensor, now: Pass) -> None:
            captured.keep(site, tensor, now, copy=writer.overwritten)

        return keep

    with _watching(parts, {site: (writer, keeping(site, writer)) for site, writer in writers.items()}):
        yield captured


@contextmanager
def replace(
    model: PreTrainedModel, edits: Mapping[Site, Edit], *, all_reached: bool = True
) -> Iterator[PreTrainedModel]:
    """Have what each function makes of the activations at its site take their place in the block.

    A function is called in every pass, also in those of a generation with a cache, and is told which
    positions of the texts it is given. The innermost of several `replace` of one site is called last. Raises
    AccessError for a site that the model does not have and for a replacement of another shape, type or
    device; and at the end for sites that nothing passed, unless `all_reached` is False. No hook is left
    behind, whatever happens in the block.
    """
    parts = parts_of(model)

    def changing(site: Site, edit: Edit) -> _Seen:
        def change(tensor: torch.Tensor, now: Pass) -> torch.Tensor:
            return _checked(edit(tensor, Context(site, now)), tensor, site)

        return change

    watched = {site: (parts.writer(site), changing(site, edit)) for site, edit in edits.items()}
    with _watching(parts, watched, all_reached=all_reached):
        yield model


@contextmanager
def map_everywhere(
    model: PreTrainedModel, functions: Mapping[Site, Callable[[torch.Tensor], torch.Tensor]]
) -> Iterator[PreTrainedModel]:
    """Have what each function makes of its site take its place in the block, at every position alike.

    As `replace`, for what depends on no position: nothing is learnt of a pass, padding is changed with the
    rest, and nothing is checked but that the sites are there. So it costs little more than its functions, in
    generation too. A `capture` sees what the functions made, whichever was entered first. A function must
    return a tensor of the same shape, type and device, and leave what it is given as it is. Raises
    AccessError for a site that the model does not have.
    """
    parts = parts_of(model)
    writers = {site: parts.writer(site) for site in functions}
    with ExitStack() as stack:
        for site, function in functions.items():
            _wrap(writers[site], function, stack)
        yield model


@contextmanager
def map_given(functions: Mapping[nn.Module, Callable[[torch.Tensor], torch.Tensor]]) -> Iterator[None]:
    """Have what each function makes of the first tensor that its module is given take its place in the block.

    As `map_everywhere`, for modules that stand between sites, such as the last matrix of an MLP, which is
    given the MLP's neurons.
    """
    with ExitStack() as stack:
        for module, function in functions.items():
            _wrap(Writer(module, takes=True, overwritten=False), function, stack)
        yield


def _wrap(writer: Writer, function: Callable[[torch.Tensor], torch.Tensor], stack: ExitStack) -> None:
    """As `_register`, around the module's forward: torch spends more on calling a hook than on a small
    operation."""
    own: Any = vars(writer.module)
    before, forward = own.get("forward"), writer.module.forward

    def taking(*args: Any, **kwargs: Any) -> Any:
        key, tensor = _first_given(args, kwargs)
        if isinstance(key, str):
            return forward(*args, **{**kwargs, key: function(tensor)})
        return forward(*args[:key], function(tensor), *args[key + 1 :], **kwargs)

    def making(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        if isinstance(output, torch.Tensor):
            return function(output)
        return type(output)((function(output[0]), *output[1:]))

    def restore() -> None:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before

    own["forward"] = wraps(forward)(taking if writer.takes else making)
    stack.callback(restore)


def _checked(made: torch.Tensor, was: torch.Tensor, site: Site) -> torch.Tensor:
    described = [(tuple(tensor.shape), tensor.dtype, tensor.device) for tensor in (made, was)]
    if described[0] != described[1]:
        now, before = (f"{shape}, {dtype}, {device}" for shape, dtype, device in described)
        raise AccessError(f"the replacement of the {site} is ({now}); expected what it was, ({before})")
    return made


@contextmanager
def _watching(
    parts: Parts, watched: Mapping[Site, tuple[Writer, _Seen]], *, all_reached: bool = True
) -> Iterator[None]:
    """Hooks at every site, which also learn of each pass; removed at the end, when all must have fired."""
    now: list[Pass] = []
    fired: set[Site] = set()
    signature = inspect.signature(parts.decoder.forward)

    def begin(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        now[:] = [pass_of(signature, args, kwargs, first=not now)]

    def at(site: Site, seen: _Seen) -> Callable[[torch.Tensor], torch.Tensor | None]:
        def look(tensor: torch.Tensor) -> torch.Tensor | None:
            if not now or tensor.shape[:2] != now[0].positions.shape:
                raise AccessError(
                    f"the {site} has the shape {tuple(tensor.shape)}; expected (rows, columns, width) of a "
                    f"text that goes through the {type(parts.decoder).__name__}"
                )
            fired.add(site)
            return seen(tensor, now[0])

        return look

    with ExitStack() as stack:
        stack.callback(parts.decoder.register_forward_pre_hook(begin, with_kwargs=True).remove)
        for site, (writer, seen) in watched.items():
            _register(writer, at(site, seen), stack)
        yield
    if all_reached and (missed := [str(site) for site in watched if site not in fired]):
        raise AccessError(
            f"nothing went through the {', the '.join(missed)}: no text was put through the {parts.name}, or "
            "it does not use those parts"
        )


def _register(writer: Writer, look: Callable[[torch.Tensor], torch.Tensor | None], stack: ExitStack) -> None:
    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key, tensor = _first_given(args, kwargs)
        made = look(tensor)
        if made is None or made is tensor:
            return None
        if isinstance(key, str):
            return args, {**kwargs, key: made}
        return (*args[:key], made, *args[key + 1 :]), kwargs

    def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        tensor = first_tensor(output)
        assert tensor is not None  # or it would not have been found to be the writer of a site
        made = look(tensor)
        if made is None or made is tensor:
            return None
        return made if isinstance(output, torch.Tensor) else type(output)((made, *output[1:]))

    if writer.takes:
        stack.callback(writer.module.register_forward_pre_hook(before, with_kwargs=True).remove)
    else:
        stack.callback(writer.module.register_forward_hook(after).remove)


def _first_given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int | str, torch.Tensor]:
    places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    for key, value in places:
        if isinstance(value, torch.Tensor):
            return key, value
    raise AssertionError("a block that was found to be given the stream is given no tensor")
