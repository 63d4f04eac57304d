"""For the reference pages: Equinox modules and named tuples are made from their fields."""

import griffe

FROM_FIELDS = ("equinox.Module", "typing.NamedTuple")


class ModuleFields(griffe.Extension):
    """Give classes whose constructor Python writes the parameters that it gives them."""

    def on_package(self, *, pkg: griffe.Module, **kwargs) -> None:
        """Visit all classes, once all of the package is known."""
        self._visit(pkg)

    def _visit(self, parent: griffe.Module | griffe.Class) -> None:
        for member in list(parent.members.values()):
            if member.is_alias or not (member.is_module or member.is_class):
                continue
            if member.is_class and "__init__" not in member.members and _made_of_fields(member):
                member.set_member("__init__", _constructor(member))
            self._visit(member)


def _made_of_fields(cls: griffe.Class) -> bool:
    bases = [str(getattr(base, "canonical_path", base)) for base in cls.bases]
    known = [parent for parent in cls.resolved_bases if isinstance(parent, griffe.Class)]
    return any(base in FROM_FIELDS for base in bases) or any(map(_made_of_fields, known))


def _constructor(cls: griffe.Class) -> griffe.Function:
    fields = [a for a in cls.members.values() if a.is_attribute and "property" not in a.labels]
    parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)]
    for field in fields:
        if field.annotation is None or "ClassVar" in str(field.annotation):
            continue
        parameters.append(
            griffe.Parameter(
                field.name,
                annotation=field.annotation,
                kind=griffe.ParameterKind.positional_or_keyword,
                default=_default(field.value),
            )
        )
    return griffe.Function(
        "__init__", parameters=griffe.Parameters(*parameters), returns="None", parent=cls
    )


def _default(value: griffe.Expr | str | None) -> griffe.Expr | str | None:
    """The default of a field, which may stand in `eqx.field(default=...)`."""
    if not isinstance(value, griffe.ExprCall):
        return value
    given = [a for a in value.arguments if isinstance(a, griffe.ExprKeyword)]
    return next((a.value for a in given if a.name == "default"), None)
