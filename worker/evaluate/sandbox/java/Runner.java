package quench;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.FilePermission;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.security.AccessControlContext;
import java.security.AccessControlException;
import java.security.AccessController;
import java.security.CodeSource;
import java.security.Permission;
import java.security.PermissionCollection;
import java.security.Permissions;
import java.security.Policy;
import java.security.PrivilegedAction;
import java.security.PrivilegedActionException;
import java.security.PrivilegedExceptionAction;
import java.security.ProtectionDomain;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.PropertyPermission;

/**
 * The first class of a program's own Java machine. It reads the program's compiled classes from stdin and a nonce
 * from descriptor 3, runs the program's main method, and when that has returned and every thread has ended it says
 * the nonce on descriptor 4.
 *
 * The nonce is in local variables of main only. Reaching it, or calling what comes after the program's main method,
 * takes native code, memory access or reflection into other classes. Either the program names none of their means
 * (PlainProgram), or a security manager refuses them (README.md in the folder above). System.exit and halt are granted: they end the machine
 * without the nonce.
 */
final class Runner {
    private static final int NONCE_LENGTH = 32;
    private static final int CLASS_BYTES_MAX = 64 << 20;

    private Runner() {}

    public static void main(String[] arguments) throws Exception {
        byte[] nonce = new byte[NONCE_LENGTH];
        try (DataInputStream pipe = new DataInputStream(new FileInputStream("/proc/self/fd/3"))) {
            pipe.readFully(nonce);
        }
        FileOutputStream status = new FileOutputStream("/proc/self/fd/4");
        // Not System.in, whose buffer would keep what it reads.
        byte[] text = new FileInputStream(FileDescriptor.in).readAllBytes();
        String mainClass;
        Map<String, byte[]> classes = new HashMap<>();
        try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(text))) {
            mainClass = in.readUTF();
            for (int left = in.readInt(); left > 0; --left) {
                String name = in.readUTF();
                int length = in.readInt();
                if (length < 0 || length > CLASS_BYTES_MAX) {
                    throw new IOException("a class of impossible size");
                }
                byte[] bytes = new byte[length];
                in.readFully(bytes);
                classes.put(name, bytes);
            }
        }
        text = null;
        if (!PlainProgram.is(classes)) {
            try {
                Policy.setPolicy(new OnlyThisClass(Runner.class.getProtectionDomain()));
                System.setSecurityManager(new SecurityManager());
            } catch (UnsupportedOperationException gone) {
                status.write("denied uses more of Java than computing, which takes a Java before 24".getBytes());
                Runtime.getRuntime().halt(0);
            }
        }

        ProgramLoader loader = new ProgramLoader(classes);
        AccessControlContext restricted = new AccessControlContext(new ProtectionDomain[] {loader.domain});
        try {
            Method main = loader.loadClass(mainClass).getDeclaredMethod("main", String[].class);
            main.setAccessible(true);  // `class Problem` need not be public
            AccessController.doPrivileged(new Program(main), restricted);
            joinOthers();
        } catch (Throwable error) {
            nonce = AccessController.doPrivileged(new Report(error), restricted);
        }
        status.write(nonce);
        Runtime.getRuntime().halt(0);
    }

    private static final class Program implements PrivilegedExceptionAction<Object> {
        private final Method main;

        Program(Method main) {
            this.main = main;
        }

        @Override
        public Object run() throws Exception {
            return main.invoke(null, (Object) new String[0]);
        }
    }

    /** A Java machine lives until its last thread ends that is no daemon. */
    private static void joinOthers() throws InterruptedException {
        ThreadGroup root = Thread.currentThread().getThreadGroup();
        while (root.getParent() != null) {
            root = root.getParent();
        }
        for (boolean waited = true; waited; ) {
            waited = false;
            Thread[] threads = new Thread[root.activeCount() + 64];
            int count = root.enumerate(threads, true);
            for (int i = 0; i < count; ++i) {
                if (threads[i] != Thread.currentThread() && !threads[i].isDaemon() && threads[i].isAlive()) {
                    threads[i].join();
                    waited = true;
                }
            }
        }
    }

    /** What to say instead of the nonce. Everything called on the error may be the program's own code. */
    private static final class Report implements PrivilegedAction<byte[]> {
        private final Throwable thrown;

        Report(Throwable thrown) {
            this.thrown = thrown;
        }

        @Override
        public byte[] run() {
            String text = "error java.lang.Throwable";
            try {
                Throwable error = thrown;
                while (error.getCause() != null
                        && (error instanceof PrivilegedActionException
                                || error instanceof InvocationTargetException
                                || error instanceof ExceptionInInitializerError)) {
                    error = error.getCause();
                }
                boolean denied = false;
                int depth = 0;
                for (Throwable cause = error; cause != null && depth < 16; cause = cause.getCause(), ++depth) {
                    if (cause.getClass() == AccessControlException.class) {
                        denied = true;
                        error = cause;
                    }
                }
                text = (denied ? "denied " : "error ") + error.getClass().getName();
                String message = error.getMessage();
                if (message != null) {
                    text += ": " + message.substring(0, Math.min(400, message.length()));
                }
                StackTraceElement[] trace = error.getStackTrace();
                int own = 0;
                while (own < trace.length && !trace[own].getClassName().startsWith("jdk.internal.reflect.")) {
                    ++own;
                }
                for (int i = 0; i < own; ++i) {
                    if ("Problem.java".equals(trace[i].getFileName())) {
                        text += " (line " + trace[i].getLineNumber() + ")";
                        break;
                    }
                }
                error.setStackTrace(Arrays.copyOf(trace, own));
                error.printStackTrace();
                System.err.flush();
            } catch (Throwable again) {
                // What is known so far must do.
            }
            return text.getBytes(StandardCharsets.UTF_8);
        }
    }

    /** Defines the program's classes, with the program's few permissions. */
    private static final class ProgramLoader extends ClassLoader {
        private final Map<String, byte[]> classes;
        final ProtectionDomain domain =
                new ProtectionDomain(new CodeSource(null, (java.security.cert.Certificate[]) null), permissions());

        ProgramLoader(Map<String, byte[]> classes) {
            super(Runner.class.getClassLoader());
            this.classes = classes;
        }

        // The program's own classes first: none of the class path takes the place of one.
        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                return classes.containsKey(name) ? findClass(name) : super.loadClass(name, resolve);
            }
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            byte[] bytes = classes.remove(name);
            if (bytes == null) {
                throw new ClassNotFoundException(name);
            }
            return defineClass(name, bytes, 0, bytes.length, domain);
        }

        // The tests are assertions: nobody turns them off before a class begins.
        @Override
        public void setDefaultAssertionStatus(boolean enabled) {}

        @Override
        public void setPackageAssertionStatus(String name, boolean enabled) {}

        @Override
        public void setClassAssertionStatus(String name, boolean enabled) {}

        @Override
        public void clearAssertionStatus() {}
    }

    /**
     * What a program may do. Not here, and so denied: reflection past `private`, class loaders of its own, native
     * libraries, other processes, sockets, files but those in /tmp, links, management and instrumentation, another
     * security manager or policy, properties that the machine itself acts upon.
     */
    private static Permissions permissions() {
        Permissions granted = new Permissions();
        granted.add(new PropertyPermission("*", "read"));
        for (String name :
                new String[] {
                    "java.util.Arrays.useLegacyMergeSort",
                    "java.util.concurrent.ForkJoinPool.common.parallelism",
                    "line.separator",
                    "user.language",
                    "user.timezone"
                }) {
            granted.add(new PropertyPermission(name, "write"));
        }
        granted.add(new FilePermission("/tmp", "read"));
        granted.add(new FilePermission("/tmp/-", "read,write,delete"));
        granted.add(new FilePermission("-", "read,write,delete"));  // below the working directory, /tmp
        granted.add(new FilePermission("/dev/null", "read,write"));
        granted.add(new FilePermission("/dev/random", "read"));
        granted.add(new FilePermission("/dev/urandom", "read"));
        for (String name :
                new String[] {
                    "accessDeclaredMembers",
                    "enableContextClassLoaderOverride",
                    "exitVM.*",
                    "getClassLoader",
                    "getStackTrace",
                    "getStackWalkerWithClassReference",
                    "getenv.*",
                    "modifyThread",
                    "modifyThreadGroup",
                    "readFileDescriptor",
                    "setContextClassLoader",
                    "setDefaultUncaughtExceptionHandler",
                    "setIO",
                    "shutdownHooks",
                    "stopThread",
                    "writeFileDescriptor"
                }) {
            granted.add(new RuntimePermission(name));
        }
        granted.setReadOnly();
        return granted;
    }

    /**
     * Everything for the runner, nothing for anyone else: classes that a program loads by a URLClassLoader ask this
     * policy.
     */
    private static final class OnlyThisClass extends Policy {
        private final ProtectionDomain runner;

        OnlyThisClass(ProtectionDomain runner) {
            this.runner = runner;
        }

        @Override
        public boolean implies(ProtectionDomain domain, Permission permission) {
            return domain == runner;
        }

        @Override
        public PermissionCollection getPermissions(CodeSource source) {
            return new Permissions();
        }
    }
}
