"""
The command line: a Typer application, one module per command.

How a command is written: a module named as the command, with ``app = App(examples)`` and functions under
``@app.command()``. A function takes ``ctx: Context`` and what it is asked, as Typer's ``Argument`` and ``Option``, and
gives an exit code; its docstring is what help says of it, its ``epilog`` are examples, a line each. The options of
every command (``--config``, ``--json``, ``--color``, ``--quiet``) are there without being named: ``ctx.obj`` has them,
and the streams to write on. One function makes a command, several make a group. What is heavy is imported inside
functions. At last one line in ``cli.commands.COMMANDS`` says that the command exists::

    app = App()

    @app.command(epilog="llm-pool greet Ada")
    def greet(ctx: Context, name: Annotated[str, Argument(help="who is greeted")]) -> int:
        \"\"\"Greet somebody.\"\"\"
        ctx.obj.console.out(f"Hello {name}.")
        return ExitCode.OK
"""
