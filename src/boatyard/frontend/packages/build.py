"""The frontend itself: from request to result. Read this module first."""

from __future__ import annotations

import asyncio

from boatyard.errors import BoatyardError
from boatyard.frontend import answers
from boatyard.frontend.bridge import Bridge
from boatyard.frontend.context import Context
from boatyard.frontend.options import Options
from boatyard.frontend.packages.convert import convert
from boatyard.frontend.packages.recipe import Recipe, read
from boatyard.frontend.packages.remarks import remarks
from boatyard.frontend.result import Answer, Image, Result
from boatyard.image.platform import Platform


async def build(bridge: Bridge, options: Options, context: Context) -> Result:
    """All platforms at once. Remarks are told once."""
    recipe = read(context.file, options.arguments)
    for remark in remarks(recipe):
        await bridge.warn(remark, text=context.file.text)
    await _check_files(context, recipe)

    async def one(platform: Platform) -> Image:
        return await _image(bridge, options, context, recipe, platform)

    images = await asyncio.gather(*map(one, options.platforms or (bridge.platform,)))
    return Result(tuple(images), multi_platform=options.multi_platform)


async def _check_files(context: Context, recipe: Recipe) -> None:
    """A file that is missing is told with its line, before anything is installed."""
    for item in recipe.files:
        if item.text is None and not await context.has(item.path):
            raise item.at.error(
                f"there is no file {item.path!r} in the build context", hint="is it named in .dockerignore?"
            )


async def _image(bridge: Bridge, options: Options, context: Context, recipe: Recipe, platform: Platform) -> Image:
    try:
        base = await context.image(recipe.base.value, platform, mode=options.resolve_mode)
    except BoatyardError as error:
        raise recipe.base.at.error(error.message, hint=error.hint) from error
    image = convert(recipe, base, context, platform)
    return image.labelled(options.labels)


async def ask_outline(bridge: Bridge, options: Options, context: Context) -> Answer:
    recipe = read(context.file, options.arguments)
    arguments = [answers.Argument(each.name, each.value, at=each.at) for each in recipe.arguments]
    return answers.outline(context.file, arguments=arguments)


async def ask_targets(bridge: Bridge, options: Options, context: Context) -> Answer:
    recipe = read(context.file, options.arguments)
    return answers.targets(context.file, [answers.Target("", f"on {recipe.base}", default=True, at=recipe.base.at)])


async def ask_remarks(bridge: Bridge, options: Options, context: Context) -> Answer:
    """A document that can't be read is an answer, too."""
    try:
        recipe = read(context.file, options.arguments)
    except BoatyardError as error:
        return answers.lint(context.file, (), error)
    return answers.lint(context.file, remarks(recipe))
