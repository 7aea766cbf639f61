%% What Erlang/OTP does for the same work: gen_server:call between two nodes on one machine, without TLS.
%% The node that measures reads commands from stdin and answers each with one number:
%%   call BYTES N          median of N calls, microseconds
%%   par BYTES CALLERS N   calls a second with that many callers
-module(call).
-behaviour(gen_server).
-export([main/1, serve/0, init/1, handle_call/3, handle_cast/2]).

init(_) -> {ok, nothing}.
handle_call(Message, _From, State) -> {reply, Message, State}.
handle_cast(_, State) -> {noreply, State}.

serve() ->
    {ok, _} = gen_server:start({local, echo}, ?MODULE, [], []),
    receive stop -> ok end.

main([Node]) ->
    true = net_kernel:connect_node(Node),
    _ = spawn(Node, ?MODULE, serve, []),
    timer:sleep(300),
    io:format("ready~n"),
    commands({echo, Node}).

commands(Server) ->
    case io:get_line("") of
        eof -> init:stop();
        Line ->
            io:format("~.3f~n", [command(Server, string:lexemes(string:trim(Line), " "))]),
            commands(Server)
    end.

command(Server, ["call", Bytes, N]) ->
    Message = binary:copy(<<7>>, list_to_integer(Bytes)),
    Times = [one(Server, Message) || _ <- lists:seq(1, list_to_integer(N))],
    lists:nth(length(Times) div 2, lists:sort(Times)) / 1000;
command(Server, ["par", Bytes, Callers, N]) ->
    Message = binary:copy(<<7>>, list_to_integer(Bytes)),
    Self = self(),
    Each = list_to_integer(N) div list_to_integer(Callers),
    Began = erlang:monotonic_time(nanosecond),
    _ = [spawn(fun() -> many(Server, Message, Each), Self ! done end) || _ <- lists:seq(1, list_to_integer(Callers))],
    _ = [receive done -> ok end || _ <- lists:seq(1, list_to_integer(Callers))],
    Each * list_to_integer(Callers) * 1.0e9 / (erlang:monotonic_time(nanosecond) - Began).

one(Server, Message) ->
    Began = erlang:monotonic_time(nanosecond),
    Message = gen_server:call(Server, Message),
    erlang:monotonic_time(nanosecond) - Began.

many(_, _, 0) -> ok;
many(Server, Message, N) -> Message = gen_server:call(Server, Message, 60000), many(Server, Message, N - 1).
