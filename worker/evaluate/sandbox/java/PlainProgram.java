package quench;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.util.Map;
import java.util.Set;

/**
 * Whether a program can do no more than compute. Code can use only the classes and members that its constant pool
 * names, as long as it names none that reaches others by a string (reflection, method handles, class loaders). So a
 * program whose every name is on these lists opens no file, meets no object of the runner, and needs no security
 * manager, which costs as much time as the rest of the start.
 */
final class PlainProgram {
    /** Packages without a class that reaches files, processes, the network or other classes, but those in REFUSED. */
    private static final Set<String> PACKAGES =
            Set.of(
                    "java/math/",
                    "java/text/",
                    "java/time/",
                    "java/time/chrono/",
                    "java/time/format/",
                    "java/time/temporal/",
                    "java/util/",
                    "java/util/concurrent/",
                    "java/util/concurrent/atomic/",
                    "java/util/concurrent/locks/",
                    "java/util/function/",
                    "java/util/regex/",
                    "java/util/stream/",
                    "org/javatuples/",
                    "org/javatuples/valueintf/");

    private static final Set<String> REFUSED =
            Set.of(
                    "java/util/ListResourceBundle",
                    "java/util/Properties",
                    "java/util/PropertyPermission",
                    "java/util/PropertyResourceBundle",
                    "java/util/ResourceBundle",
                    "java/util/ResourceBundle$Control",
                    "java/util/ServiceLoader",
                    "java/util/ServiceLoader$Provider");

    private static final Set<String> CLASSES =
            Set.of(
                    "java/io/BufferedInputStream",
                    "java/io/BufferedOutputStream",
                    "java/io/BufferedReader",
                    "java/io/BufferedWriter",
                    "java/io/ByteArrayInputStream",
                    "java/io/ByteArrayOutputStream",
                    "java/io/Closeable",
                    "java/io/EOFException",
                    "java/io/FileNotFoundException",
                    "java/io/Flushable",
                    "java/io/IOException",
                    "java/io/InputStream",
                    "java/io/InputStreamReader",
                    "java/io/OutputStream",
                    "java/io/OutputStreamWriter",
                    "java/io/PrintStream",
                    "java/io/PrintWriter",
                    "java/io/Reader",
                    "java/io/Serializable",
                    "java/io/StreamTokenizer",
                    "java/io/StringReader",
                    "java/io/StringWriter",
                    "java/io/UncheckedIOException",
                    "java/io/UnsupportedEncodingException",
                    "java/io/Writer",
                    "java/lang/Appendable",
                    "java/lang/AutoCloseable",
                    "java/lang/Boolean",
                    "java/lang/Byte",
                    "java/lang/CharSequence",
                    "java/lang/Character",
                    "java/lang/Character$UnicodeBlock",
                    "java/lang/Character$UnicodeScript",
                    "java/lang/Class",
                    "java/lang/Cloneable",
                    "java/lang/Comparable",
                    "java/lang/Double",
                    "java/lang/Enum",
                    "java/lang/Float",
                    "java/lang/InheritableThreadLocal",
                    "java/lang/Integer",
                    "java/lang/Iterable",
                    "java/lang/Long",
                    "java/lang/Math",
                    "java/lang/Number",
                    "java/lang/Object",
                    "java/lang/Readable",
                    "java/lang/Record",
                    "java/lang/Runnable",
                    "java/lang/Runtime",
                    "java/lang/Short",
                    "java/lang/StackTraceElement",
                    "java/lang/StrictMath",
                    "java/lang/String",
                    "java/lang/StringBuffer",
                    "java/lang/StringBuilder",
                    "java/lang/System",
                    "java/lang/Thread",
                    "java/lang/Thread$State",
                    "java/lang/Thread$UncaughtExceptionHandler",
                    "java/lang/ThreadDeath",
                    "java/lang/ThreadGroup",
                    "java/lang/ThreadLocal",
                    "java/lang/Throwable",
                    "java/lang/Void",
                    // What javac itself calls for lambdas, string concatenation, records and switches. They are of
                    // no use without a Lookup, and no member of Lookup is in MEMBERS.
                    "java/lang/invoke/CallSite",
                    "java/lang/invoke/LambdaMetafactory",
                    "java/lang/invoke/MethodHandle",
                    "java/lang/invoke/MethodHandles",
                    "java/lang/invoke/MethodHandles$Lookup",
                    "java/lang/invoke/MethodType",
                    "java/lang/invoke/StringConcatFactory",
                    "java/lang/invoke/TypeDescriptor",
                    "java/lang/reflect/Array",
                    "java/lang/runtime/ObjectMethods",
                    "java/lang/runtime/SwitchBootstraps",
                    "java/nio/ByteBuffer",
                    "java/nio/ByteOrder",
                    "java/nio/charset/Charset",
                    "java/nio/charset/StandardCharsets",
                    "java/security/DigestException",
                    "java/security/GeneralSecurityException",
                    "java/security/InvalidParameterException",
                    "java/security/MessageDigest",
                    "java/security/NoSuchAlgorithmException",
                    "java/security/SecureRandom",
                    "java/util/zip/Adler32",
                    "java/util/zip/CRC32",
                    "java/util/zip/Checksum");

    /** Of these classes only the members given. */
    private static final Map<String, Set<String>> MEMBERS =
            Map.of(
                    "java/lang/Class",
                    Set.of(
                            "cast", "desiredAssertionStatus", "equals", "getCanonicalName", "getComponentType",
                            "getEnumConstants", "getName", "getSimpleName", "getSuperclass", "getTypeName", "hashCode",
                            "isArray", "isAssignableFrom", "isEnum", "isInstance", "isInterface", "isPrimitive",
                            "isRecord", "toString"),
                    "java/lang/System",
                    Set.of(
                            "arraycopy", "currentTimeMillis", "err", "exit", "gc", "getProperty", "getenv",
                            "identityHashCode", "in", "lineSeparator", "nanoTime", "out", "setErr", "setIn", "setOut"),
                    "java/lang/Runtime",
                    Set.of(
                            "addShutdownHook", "availableProcessors", "exit", "freeMemory", "gc", "getRuntime", "halt",
                            "maxMemory", "totalMemory"),
                    "java/lang/invoke/LambdaMetafactory", Set.of("altMetafactory", "metafactory"),
                    "java/lang/invoke/StringConcatFactory", Set.of("makeConcat", "makeConcatWithConstants"),
                    "java/lang/invoke/CallSite", Set.of(),
                    "java/lang/invoke/MethodHandle", Set.of(),
                    "java/lang/invoke/MethodHandles", Set.of(),
                    "java/lang/invoke/MethodHandles$Lookup", Set.of(),
                    "java/lang/invoke/MethodType", Set.of());

    /** Constructors that take the name of a file. */
    private static final Set<String> FILE_OPENERS =
            Set.of("java/io/PrintStream", "java/io/PrintWriter", "java/util/Formatter");

    private final Map<String, byte[]> classes;

    private PlainProgram(Map<String, byte[]> classes) {
        this.classes = classes;
    }

    /** `classes` by name, with dots. */
    static boolean is(Map<String, byte[]> classes) throws IOException {
        PlainProgram program = new PlainProgram(classes);
        for (byte[] bytes : classes.values()) {
            if (!program.isPlain(bytes)) {
                return false;
            }
        }
        return true;
    }

    /** One class file: its constant pool (JVM specification, 4.4). */
    private boolean isPlain(byte[] bytes) throws IOException {
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
        in.readInt();
        in.readInt();
        int count = in.readUnsignedShort();
        int[] tags = new int[count];
        int[] first = new int[count];
        int[] second = new int[count];
        String[] text = new String[count];
        for (int i = 1; i < count; ++i) {
            tags[i] = in.readUnsignedByte();
            switch (tags[i]) {
                case 1:  // Utf8
                    text[i] = in.readUTF();
                    break;
                case 3:  // Integer
                case 4:  // Float
                    in.readInt();
                    break;
                case 5:  // Long
                case 6:  // Double
                    in.readLong();
                    ++i;
                    break;
                case 7:  // Class
                case 8:  // String
                case 16:  // MethodType
                    first[i] = in.readUnsignedShort();
                    break;
                case 9:  // Fieldref
                case 10:  // Methodref
                case 11:  // InterfaceMethodref
                case 12:  // NameAndType
                case 18:  // InvokeDynamic
                    first[i] = in.readUnsignedShort();
                    second[i] = in.readUnsignedShort();
                    break;
                case 15:  // MethodHandle
                    in.readUnsignedByte();
                    first[i] = in.readUnsignedShort();
                    break;
                default:  // Dynamic, Module, Package: nothing that javac writes into a plain program
                    return false;
            }
        }
        for (int i = 1; i < count; ++i) {
            boolean plain = true;
            switch (tags[i]) {
                case 7:
                    plain = isPlainType(text[first[i]]);
                    break;
                case 9:
                case 10:
                case 11:
                    plain =
                            isPlainMember(
                                    text[first[first[i]]], text[first[second[i]]], text[second[second[i]]]);
                    break;
                case 12:
                    plain = isPlainDescriptor(text[second[i]]);
                    break;
                case 16:
                    plain = isPlainDescriptor(text[first[i]]);
                    break;
                default:
                    break;
            }
            if (!plain) {
                return false;
            }
        }
        return true;
    }

    private boolean isPlainType(String name) {
        if (name.startsWith("[")) {
            return isPlainDescriptor(name);
        }
        if (classes.containsKey(name.replace('/', '.'))) {
            return true;
        }
        int slash = name.lastIndexOf('/');
        if (PACKAGES.contains(name.substring(0, slash + 1))) {
            return !REFUSED.contains(name);
        }
        boolean thrown = name.endsWith("Exception") || name.endsWith("Error");
        return CLASSES.contains(name) || (thrown && name.startsWith("java/lang/") && slash == "java/lang".length());
    }

    private boolean isPlainMember(String owner, String name, String descriptor) {
        if (name.equals("<init>") && FILE_OPENERS.contains(owner) && descriptor.startsWith("(Ljava/lang/String;")) {
            return false;
        }
        Set<String> members = MEMBERS.get(owner);
        return isPlainType(owner) && (members == null || members.contains(name));
    }

    /** Every class named in the descriptor of a field, a method or an array. */
    private boolean isPlainDescriptor(String descriptor) {
        for (int at = 0; at < descriptor.length(); ++at) {
            if (descriptor.charAt(at) == 'L') {
                int end = descriptor.indexOf(';', at);
                if (!isPlainType(descriptor.substring(at + 1, end))) {
                    return false;
                }
                at = end;
            }
        }
        return true;
    }
}
