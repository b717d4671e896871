package quench;

import com.sun.source.tree.ClassTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.ExpressionTree;
import com.sun.source.tree.IdentifierTree;
import com.sun.source.tree.ImportTree;
import com.sun.source.tree.MemberSelectTree;
import com.sun.source.tree.MethodInvocationTree;
import com.sun.source.tree.MethodTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.TypeParameterTree;
import com.sun.source.tree.VariableTree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.SourcePositions;
import com.sun.source.util.TreePathScanner;
import com.sun.source.util.Trees;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.Writer;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import javax.lang.model.element.Modifier;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.StandardLocation;
import javax.tools.ToolProvider;

/**
 * PID 1 of a sandbox of its own: a warm javac that turns one source after the other into classes, in memory. It never
 * loads what it has compiled, and no annotation processor runs.
 *
 * Requests and replies are frames on stdin and stdout: a length of four bytes, least significant first. A request is
 * the length of the program's first part (four bytes, most significant first) and the program in UTF-8; the second
 * part has the tests, and the main method that runs must be in it. A reply begins with one letter: C and, in base64,
 * what Runner reads from its stdin, E and a diagnostic, M when memory did not suffice. The first reply, H, has Java's version and
 * the classes of Runner and PlainProgram, whose compilation warms the compiler.
 */
final class Compiler {
    private static final int REQUEST_BYTES_MAX = 64 << 20;
    private static final int CLASS_BYTES_MAX = 16 << 20;
    private static final int DIAGNOSTIC_LENGTH_MAX = 400;
    // What programs use most, so that the compiler has met it before the first of them.
    private static final String COMMON =
            "import java.util.*;import java.lang.reflect.*;import org.javatuples.*;import java.security.*;import java.math.*;"
                    + "import java.io.*;import java.util.stream.*;class Problem{"
                    + "public static ArrayList<Long> f(ArrayList<Long> a,HashMap<String,Long> m,Optional<Pair<Long,String>> p){"
                    + "StringBuilder s=new StringBuilder();for(long x:a){if(x>1&&x%2==0){s.append(x).append(\"-\"+x);}}"
                    + "for(Map.Entry<String,Long> e:m.entrySet()){a.add(e.getValue()+e.getKey().charAt(0));}"
                    + "Collections.sort(a,(x,y)->Long.compare(y,x));"
                    + "return new ArrayList<>(a.stream().filter(x->x>0).map(x->x*2).collect(Collectors.toList()));}"
                    + "public static void main(String[] args){assert(f(new ArrayList<Long>(Arrays.asList((long)1l,(long)2l)),"
                    + "new HashMap<String,Long>(Map.of(\"a\",1l)),Optional.of(Pair.with(1l,\"b\")))"
                    + ".equals((new ArrayList<Long>(Arrays.asList((long)1l)))));}}";
    // What `actual.equals(expected)` in the tests becomes: the expected value decides, so that an answer of a class
    // that equals everything is not right. Expected values of the program's own classes compare as written.
    private static final String EQUAL =
            "package quench.tests;public final class Equal{private Equal(){}"
                    + "public static boolean equal(Object actual,Object expected){"
                    + "if(actual==null)throw new NullPointerException(\"null has no equals\");if(expected==null)return false;"
                    + "String type=expected.getClass().getName();"
                    + "return type.startsWith(\"java.\")||type.startsWith(\"org.javatuples.\")"
                    + "?expected.equals(actual):actual.equals(expected);}}";
    private static final int WARM_COMPILATIONS = 3;

    private final JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    private final StandardJavaFileManager platform;

    private Compiler(File library) throws IOException {
        platform = compiler.getStandardFileManager(null, Locale.ROOT, StandardCharsets.UTF_8);
        platform.setLocation(StandardLocation.CLASS_PATH, List.of(library));
        platform.setLocation(StandardLocation.SOURCE_PATH, List.of());
    }

    public static void main(String[] arguments) throws Exception {
        DataInputStream in = new DataInputStream(new FileInputStream(FileDescriptor.in));
        OutputStream out = new FileOutputStream(FileDescriptor.out);
        System.setOut(System.err);
        Compiler compiler = new Compiler(new File(arguments[0]));
        Map<String, String> runner = new TreeMap<>();
        for (String path : List.of(arguments).subList(1, arguments.length)) {
            runner.put(Path.of(path).getFileName().toString(), Files.readString(Path.of(path)));
        }
        send(out, compiler.hello(runner));
        // Nobody reads what javac may still print of its own failures.
        System.setErr(new PrintStream(OutputStream.nullOutputStream()));
        while (true) {
            int length;
            try {
                length = Integer.reverseBytes(in.readInt());
            } catch (EOFException gone) {
                return;
            }
            if (length < 4 || length > REQUEST_BYTES_MAX) {
                throw new IOException("a request of impossible size");
            }
            int firstLength = in.readInt();
            byte[] text = new byte[length - 4];
            in.readFully(text);
            String first = new String(text, 0, firstLength, StandardCharsets.UTF_8);
            String second = new String(text, firstLength, text.length - firstLength, StandardCharsets.UTF_8);
            text = null;
            send(out, compiler.answer(first + second, first.length()));
        }
    }

    private static void send(OutputStream out, byte[] reply) throws IOException {
        ByteArrayOutputStream frame = new ByteArrayOutputStream(reply.length + 4);
        DataOutputStream data = new DataOutputStream(frame);
        data.writeInt(Integer.reverseBytes(reply.length));
        data.write(reply);
        frame.writeTo(out);
    }

    private byte[] hello(Map<String, String> runner) throws IOException {
        Result result = compile(runner, 0);
        if (result.diagnostic != null) {
            throw new IOException("Runner.java: " + result.diagnostic);
        }
        for (int i = 0; i < WARM_COMPILATIONS; ++i) {
            compile(Map.of("Problem.java", COMMON), 0);
        }
        ByteArrayOutputStream reply = new ByteArrayOutputStream();
        DataOutputStream data = new DataOutputStream(reply);
        data.writeByte('H');
        data.writeUTF(System.getProperty("java.version"));
        result.writeTo(data);
        return reply.toByteArray();
    }

    private byte[] answer(String source, int testsAt) throws IOException {
        Result result;
        try {
            Map<String, String> sources = Map.of("Problem.java", source);
            String objection = null;
            if (testsAt > 0) {
                TestsReader reader = new TestsReader(source, testsAt);
                Result unread = parse(sources, reader);
                objection = unread.diagnostic != null ? unread.diagnostic : reader.objection();
                if (objection == null) {
                    sources = Map.of("Problem.java", reader.edited(), "Equal.java", EQUAL);
                }
            }
            result = objection != null ? Result.failure(objection) : compile(sources, testsAt);
        } catch (RuntimeException | Error error) {
            // javac wraps what it does not expect in an IllegalStateException.
            Throwable cause = error.getCause() != null ? error.getCause() : error;
            if (cause instanceof OutOfMemoryError) {
                return new byte[] {'M'};
            }
            boolean deep = cause instanceof StackOverflowError;
            result = Result.failure("javac: " + (deep ? "the program is nested too deeply" : cause.toString()));
        }
        ByteArrayOutputStream reply = new ByteArrayOutputStream();
        DataOutputStream data = new DataOutputStream(reply);
        if (result.diagnostic != null) {
            data.writeByte('E');
            data.write(result.diagnostic.getBytes(StandardCharsets.UTF_8));
        } else {
            data.writeByte('C');
            ByteArrayOutputStream program = new ByteArrayOutputStream();
            DataOutputStream fields = new DataOutputStream(program);
            fields.writeUTF(result.mainClass);
            result.writeTo(fields);
            data.write(Base64.getEncoder().encode(program.toByteArray()));
        }
        return reply.toByteArray();
    }

    private static final class Result {
        String diagnostic;
        String mainClass;
        Map<String, ByteArrayOutputStream> classes = new TreeMap<>();

        static Result failure(String diagnostic) {
            Result result = new Result();
            result.diagnostic = diagnostic;
            return result;
        }

        void writeTo(DataOutputStream data) throws IOException {
            data.writeInt(classes.size());
            for (Map.Entry<String, ByteArrayOutputStream> entry : classes.entrySet()) {
                data.writeUTF(entry.getKey());
                data.writeInt(entry.getValue().size());
                entry.getValue().writeTo(data);
            }
        }
    }

    /** `sources` by the names of their files. */
    private Result compile(Map<String, String> sources, int testsAt) throws IOException {
        Result result = new Result();
        DiagnosticCollector<JavaFileObject> diagnostics = new DiagnosticCollector<>();
        JavacTask task = task(sources, result, diagnostics);
        for (CompilationUnitTree unit : task.parse()) {
            MainFinder finder = new MainFinder(unit, Trees.instance(task).getSourcePositions(), testsAt);
            finder.scan(unit, null);
            result.mainClass = result.mainClass == null ? finder.found : result.mainClass;
        }
        boolean wrong = firstError(diagnostics, result);
        if (!wrong) {
            task.generate();
            wrong = firstError(diagnostics, result);
        }
        if (!wrong && result.mainClass == null) {
            result.diagnostic =
                    testsAt == 0
                            ? "there is no method `public static void main(String[])`"
                            : "the tests' main method is not part of the program";
        }
        return result;
    }

    /** Lets `reader` see a program, uncompiled. */
    private Result parse(Map<String, String> sources, TestsReader reader) throws IOException {
        Result result = new Result();
        DiagnosticCollector<JavaFileObject> diagnostics = new DiagnosticCollector<>();
        JavacTask task = task(sources, result, diagnostics);
        for (CompilationUnitTree unit : task.parse()) {
            reader.read(task, unit);
        }
        firstError(diagnostics, result);
        return result;
    }

    private JavacTask task(
            Map<String, String> sources, Result result, DiagnosticCollector<JavaFileObject> diagnostics) {
        List<JavaFileObject> files = new ArrayList<>();
        for (Map.Entry<String, String> source : sources.entrySet()) {
            files.add(
                    new SimpleJavaFileObject(URI.create("string:///" + source.getKey()), JavaFileObject.Kind.SOURCE) {
                        @Override
                        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
                            return source.getValue();
                        }
                    });
        }
        List<String> options = List.of("-proc:none", "-nowarn", "-Xlint:none", "-implicit:none");
        return (JavacTask)
                compiler.getTask(Writer.nullWriter(), new InMemory(platform, result), diagnostics, options, null, files);
    }

    private static boolean firstError(DiagnosticCollector<JavaFileObject> diagnostics, Result result) {
        for (Diagnostic<? extends JavaFileObject> diagnostic : diagnostics.getDiagnostics()) {
            if (diagnostic.getKind() == Diagnostic.Kind.ERROR) {
                String text = diagnostic.getMessage(Locale.ROOT).strip().replaceAll("\\s*\\R\\s*", "; ");
                text = text.substring(0, Math.min(DIAGNOSTIC_LENGTH_MAX, text.length()));
                long line = diagnostic.getLineNumber();
                result.diagnostic = line == Diagnostic.NOPOS ? text : text + " (line " + line + ")";
                return true;
            }
        }
        return false;
    }

    /**
     * The class whose main method runs: the first at or after the place where the tests begin; when a program brings
     * its own tests, that of `Problem`, else the first one.
     */
    private static final class MainFinder extends TreePathScanner<Void, Void> {
        private final CompilationUnitTree unit;
        private final SourcePositions positions;
        private final int testsAt;
        private final Deque<String> enclosing = new ArrayDeque<>();
        String found;

        MainFinder(CompilationUnitTree unit, SourcePositions positions, int testsAt) {
            this.unit = unit;
            this.positions = positions;
            this.testsAt = testsAt;
        }

        @Override
        public Void visitClass(ClassTree tree, Void nothing) {
            String name = tree.getSimpleName().toString();
            if (name.isEmpty()) {
                return null;  // an anonymous class
            }
            String prefix = unit.getPackageName() == null ? "" : unit.getPackageName() + ".";
            enclosing.addLast(enclosing.isEmpty() ? prefix + name : enclosing.getLast() + "$" + name);
            super.visitClass(tree, nothing);
            enclosing.removeLast();
            return null;
        }

        @Override
        public Void visitMethod(MethodTree tree, Void nothing) {
            boolean isMain =
                    tree.getName().contentEquals("main")
                            && tree.getModifiers().getFlags().contains(Modifier.STATIC)
                            && tree.getParameters().size() == 1
                            && positions.getStartPosition(unit, tree) >= testsAt;
            String name = enclosing.peekLast();
            if (isMain && (found == null || (testsAt == 0 && name.equals("Problem")))) {
                found = name;
            }
            return null;  // classes inside methods have no names of their own
        }
    }

    /**
     * Sees to it that tests mean what they meant before an answer stood before them. An answer may close the class
     * it is asked to go on with, and declare classes or fields that hide what the tests name (`ArrayList`, `Arrays`);
     * and it may return an object of a class that equals everything.
     */
    private static final class TestsReader extends TreePathScanner<Void, Void> {
        private final String source;
        private final int testsAt;
        private final Set<String> declared = new HashSet<>();
        private final Set<String> used = new TreeSet<>(Set.of("quench"));
        private final TreeMap<Integer, Edit> edits = new TreeMap<>();
        private JavacTask task;
        private CompilationUnitTree unit;
        private SourcePositions positions;
        private String objection;

        private static final class Edit {
            final int end;
            final String text;

            Edit(int end, String text) {
                this.end = end;
                this.text = text;
            }
        }

        TestsReader(String source, int testsAt) {
            this.source = source;
            this.testsAt = testsAt;
        }

        void read(JavacTask task, CompilationUnitTree unit) {
            this.task = task;
            this.unit = unit;
            positions = Trees.instance(task).getSourcePositions();
            scan(unit, null);
            for (String name : used) {
                if (declared.contains(name) && isPlatformName(name)) {
                    objection = "the answer declares " + name + ", which hides what its tests mean by it";
                    return;
                }
            }
        }

        /** Null when there is none. */
        String objection() {
            return objection;
        }

        String edited() {
            StringBuilder text = new StringBuilder();
            int at = 0;
            for (Map.Entry<Integer, Edit> edit : edits.entrySet()) {
                text.append(source, at, edit.getKey()).append(edit.getValue().text);
                at = edit.getValue().end;
            }
            return text.append(source, at, source.length()).toString();
        }

        private boolean isPlatformName(String name) {
            if (name.equals("quench") || task.getElements().getTypeElement("java.lang." + name) != null) {
                return true;
            }
            for (ImportTree line : unit.getImports()) {
                String imported = line.getQualifiedIdentifier().toString();
                if (imported.endsWith(".*")) {
                    imported = imported.substring(0, imported.length() - 1) + name;
                }
                if (imported.endsWith("." + name) && task.getElements().getTypeElement(imported) != null) {
                    return true;
                }
            }
            return false;
        }

        private boolean inTests(Tree tree) {
            return positions.getStartPosition(unit, tree) >= testsAt;
        }

        @Override
        public Void visitClass(ClassTree tree, Void nothing) {
            if (!inTests(tree)) {
                declared.add(tree.getSimpleName().toString());
            }
            return super.visitClass(tree, nothing);
        }

        @Override
        public Void visitVariable(VariableTree tree, Void nothing) {
            if (!inTests(tree) && getCurrentPath().getParentPath().getLeaf() instanceof ClassTree) {
                declared.add(tree.getName().toString());
            }
            return super.visitVariable(tree, nothing);
        }

        @Override
        public Void visitTypeParameter(TypeParameterTree tree, Void nothing) {
            if (!inTests(tree)) {
                declared.add(tree.getName().toString());
            }
            return super.visitTypeParameter(tree, nothing);
        }

        @Override
        public Void visitIdentifier(IdentifierTree tree, Void nothing) {
            if (inTests(tree)) {
                used.add(tree.getName().toString());
            }
            return super.visitIdentifier(tree, nothing);
        }

        @Override
        public Void visitMethodInvocation(MethodInvocationTree tree, Void nothing) {
            if (tree.getMethodSelect() instanceof MemberSelectTree && tree.getArguments().size() == 1 && inTests(tree)) {
                MemberSelectTree select = (MemberSelectTree) tree.getMethodSelect();
                ExpressionTree actual = select.getExpression();
                int start = (int) positions.getStartPosition(unit, tree);
                int actualEnd = (int) positions.getEndPosition(unit, actual);
                int expectedStart = (int) positions.getStartPosition(unit, tree.getArguments().get(0));
                boolean isSuper = actual instanceof IdentifierTree && actual.toString().equals("super");
                if (select.getIdentifier().contentEquals("equals") && !isSuper && actualEnd > start) {
                    // Lines keep their numbers.
                    String lines = source.substring(actualEnd, expectedStart).replaceAll("[^\\n]", "");
                    edits.put(start, new Edit(start, "quench.tests.Equal.equal("));
                    edits.put(actualEnd, new Edit(expectedStart, "," + lines));
                }
            }
            return super.visitMethodInvocation(tree, nothing);
        }
    }

    private static final class InMemory extends ForwardingJavaFileManager<JavaFileManager> {
        private final Result result;
        private int classBytes;

        InMemory(JavaFileManager platform, Result result) {
            super(platform);
            this.result = result;
        }

        @Override
        public JavaFileObject getJavaFileForOutput(
                Location location, String className, JavaFileObject.Kind kind, FileObject sibling) throws IOException {
            if (kind != JavaFileObject.Kind.CLASS) {
                throw new IOException("only classes are written");
            }
            ByteArrayOutputStream bytes =
                    new ByteArrayOutputStream() {
                        @Override
                        public synchronized void write(byte[] from, int offset, int length) {
                            classBytes += length;
                            if (classBytes > CLASS_BYTES_MAX) {
                                throw new IllegalStateException("the classes together have more than 16 MiB");
                            }
                            super.write(from, offset, length);
                        }
                    };
            result.classes.put(className, bytes);
            return new SimpleJavaFileObject(URI.create("memory:///" + className.replace('.', '/') + ".class"), kind) {
                @Override
                public OutputStream openOutputStream() {
                    return bytes;
                }
            };
        }
    }
}
