%% Erlang's side of bench/ipc-local.ts: a process calls a gen_server of the same node and waits for each answer, with
%% the usual time-out; and sends to a process that counts, waiting for a credit after each 1,000 so that its mailbox
%% stays short. Prints `oneway N call N`, messages a second.
-module(local_call).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2]).

init(_) -> {ok, 0}.
handle_call({1, Body}, _From, State) -> {reply, {2, Body}, State}.
handle_cast(_, State) -> {noreply, State}.

main(Ms) ->
    {ok, Server} = gen_server:start(?MODULE, [], []),
    Sink = spawn(fun() -> sink(0) end),
    Call = fun(N) -> calls(Server, N) end,
    Send = fun(N) -> sends(Sink, N) end,
    rate(Send, 200), rate(Call, 200),
    io:format("oneway ~w call ~w~n", [rate(Send, Ms), rate(Call, Ms)]).

rate(Work, Ms) ->
    From = erlang:monotonic_time(nanosecond),
    rate(Work, From, From + Ms * 1000000, 0).
rate(Work, From, To, Done) ->
    Work(20000),
    Now = erlang:monotonic_time(nanosecond),
    if Now >= To -> trunc((Done + 20000) * 1.0e9 / (Now - From)); true -> rate(Work, From, To, Done + 20000) end.

calls(_, 0) -> ok;
calls(Server, N) -> {2, N} = gen_server:call(Server, {1, N}, 5000), calls(Server, N - 1).

sends(_, 0) -> ok;
sends(Sink, N) ->
    Sink ! {self(), 1, N},
    if N rem 1000 =:= 0 -> receive credit -> ok end; true -> ok end,
    sends(Sink, N - 1).

sink(Count) ->
    receive {From, 1, N} ->
        if N rem 1000 =:= 0 -> From ! credit; true -> ok end,
        sink(Count + 1)
    end.
